//! Database of the stack: on the server of `DATABASE_URL`, else on a cluster of this checkout.

use std::path::PathBuf;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::layout::{Layout, remove};
use super::postgres::Cluster;
use super::secrets::Secrets;
use super::tools::Tools;
use super::{connection, json_file, progress};
use crate::error::{Context, Error, Result};

const NAME: &str = "ringfence";
/// Role of the functions. A `DATABASE_URL` with this role is the output of `cargo ringfence env`, not a server to use.
const APP_ROLE: &str = "ringfence_app";

/// Server of a started stack. It is recorded until `down`, so that every verb uses the same server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Server {
    /// Server of `DATABASE_URL`, by a superuser's URL.
    Given(String),
    /// Cluster under `target/`.
    Own,
}

/// A migrated database.
#[derive(Clone, Debug)]
pub struct Database {
    /// URL of the superuser.
    pub owner_url: String,
    /// URL of the functions' role.
    pub app_url: String,
    /// Data folder, if the server is the cluster of this checkout.
    pub folder: Option<PathBuf>,
}

impl Database {
    /// Starts the cluster of this checkout if it is used, creates the database and migrates it.
    pub async fn start(layout: &Layout, tools: &Tools, secrets: &Secrets) -> Result<Self> {
        let (server_url, folder) = start_server(layout, tools, secrets).await?;
        create(&server_url, NAME).await?;
        let database = Self::describe(&server_url, NAME, secrets, folder)?;
        migrate(&database.owner_url, &secrets.app_password).await?;
        Ok(database)
    }

    /// Starts the cluster of this checkout if it is used, and creates an empty database. Drops an existing database of
    /// that name.
    pub async fn start_empty(layout: &Layout, tools: &Tools, secrets: &Secrets, name: &str) -> Result<Self> {
        let (server_url, folder) = start_server(layout, tools, secrets).await?;
        Ok(Self { folder, ..Self::replace(&server_url, name, secrets).await? })
    }

    /// Creates an empty database on a running server. Drops an existing database of that name.
    pub async fn replace(server_url: &str, name: &str, secrets: &Secrets) -> Result<Self> {
        let client = connection::open(server_url).await?;
        let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        client.batch_execute(&statement).await.context("drop the earlier database")?;
        create(server_url, name).await?;
        Self::describe(server_url, name, secrets, None)
    }

    fn describe(server_url: &str, name: &str, secrets: &Secrets, folder: Option<PathBuf>) -> Result<Self> {
        let owner_url = on_database(server_url, name)?;
        let app_url = as_app(&owner_url, &secrets.app_password)?;
        Ok(Self { owner_url, app_url, folder })
    }

    /// Stops the cluster of this checkout. Returns false if it was not running.
    pub async fn stop(layout: &Layout) -> Result<bool> {
        let stopped = Cluster::of_stack(layout).stop().await?;
        remove(&record(layout))?;
        Ok(stopped)
    }
}

impl Server {
    fn of(layout: &Layout) -> Result<Self> {
        let chosen = json_file::read(&record(layout))?;
        Ok(chosen.unwrap_or_else(|| Self::choose(std::env::var("DATABASE_URL").ok())))
    }

    fn choose(database_url: Option<String>) -> Self {
        let names_app = |url: &String| Url::parse(url).is_ok_and(|url| url.username() == APP_ROLE);
        database_url.filter(|url| !url.is_empty() && !names_app(url)).map_or(Self::Own, Self::Given)
    }
}

fn record(layout: &Layout) -> PathBuf {
    layout.run().join("database.json")
}

/// URL and data folder of the server. Starts the cluster of this checkout if it is used.
async fn start_server(layout: &Layout, tools: &Tools, secrets: &Secrets) -> Result<(String, Option<PathBuf>)> {
    let server = Server::of(layout)?;
    let (url, folder) = match &server {
        Server::Given(url) => (url.clone(), None),
        Server::Own => {
            let running = Cluster::of_stack(layout).start(tools, Some(&secrets.superuser_password)).await?;
            (running.url, Some(running.data))
        }
    };
    // Written after the connection succeeds, so that an unusable server is not recorded.
    connection::open(&url).await?;
    json_file::write(&record(layout), &server)?;
    Ok((url, folder))
}

async fn create(server_url: &str, name: &str) -> Result<()> {
    let client = connection::open(server_url).await?;
    let exists = client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name]).await;
    if exists.context("look for the database")?.is_none() {
        let statement = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'");
        client.batch_execute(&statement).await.context("create the database")?;
    }
    Ok(())
}

/// Applies the missing migrations.
pub async fn migrate(owner_url: &str, app_password: &str) -> Result<()> {
    let settings = connection::settings(owner_url);
    let applied = ringfence_core::migrations::run(&settings, app_password).await.context("migrate the database")?;
    if !applied.is_empty() {
        progress(&format!("Migrated the database: {} migrations", applied.len()));
    }
    Ok(())
}

/// The server's URL with this database.
fn on_database(server_url: &str, name: &str) -> Result<String> {
    let mut url = parse(server_url)?;
    url.set_path(name);
    Ok(url.into())
}

/// URL of the functions' role, which has only the privileges that functions need.
fn as_app(owner_url: &str, password: &str) -> Result<String> {
    let mut url = parse(owner_url)?;
    let changed = url.set_username(APP_ROLE).and_then(|()| url.set_password(Some(password)));
    changed.map_err(|()| Error::new("DATABASE_URL has no host"))?;
    Ok(url.into())
}

/// The error message omits the URL, which may contain a password.
fn parse(url: &str) -> Result<Url> {
    Url::parse(url).context("read DATABASE_URL: it must have the form postgres://USER:PASSWORD@HOST:PORT/DATABASE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_keep_their_server_and_parameters() {
        let owner = on_database("postgres://postgres:p@127.0.0.1:5433/postgres?sslmode=disable", NAME).unwrap();
        assert_eq!(owner, "postgres://postgres:p@127.0.0.1:5433/ringfence?sslmode=disable");
        assert_eq!(
            as_app(&owner, "secret").unwrap(),
            "postgres://ringfence_app:secret@127.0.0.1:5433/ringfence?sslmode=disable"
        );
    }

    #[test]
    fn the_functions_own_url_is_no_server_to_use() {
        let app = "postgres://ringfence_app:p@127.0.0.1:5433/ringfence".to_owned();
        assert_eq!(Server::choose(Some(app)), Server::Own);
        assert_eq!(Server::choose(None), Server::Own);
        let superuser = "postgres://postgres@localhost/postgres".to_owned();
        assert_eq!(Server::choose(Some(superuser.clone())), Server::Given(superuser));
    }
}
