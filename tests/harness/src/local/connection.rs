//! Connections of the tool to a local database.

use std::time::Duration;

use ringfence_core::DatabaseSettings;
use tokio_postgres::{Client, Config, NoTls};

use crate::error::{Context, Result};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Settings with which `ringfence_core` connects to the database at `url`.
#[must_use]
pub fn settings(url: &str) -> DatabaseSettings {
    DatabaseSettings::new(url, std::env::var("DATABASE_CA_PEM").ok())
}

/// Opens a connection. Its own task drives it until it closes.
pub async fn open(url: &str) -> Result<Client> {
    // The URL contains a password, so no message shows it.
    try_open(url).await.context("connect to the database")
}

/// Like [`open`], but returns the driver's error.
pub async fn try_open(url: &str) -> std::result::Result<Client, tokio_postgres::Error> {
    let mut config: Config = url.parse()?;
    let (client, connection) = config.connect_timeout(TIMEOUT).connect(NoTls).await?;
    tokio::spawn(async move {
        // The statement in progress reports a failure of the connection.
        let _ = connection.await;
    });
    Ok(client)
}
