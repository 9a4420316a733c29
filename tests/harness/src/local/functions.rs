//! The functions, served at the template's paths by `cargo lambda watch`.

use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Command;

use super::backing::Backing;
use super::environment::of_functions;
use super::layout::Layout;
use super::process::{Record, Service};
use super::{http, progress};
use crate::error::{Context, Error, Result};

/// Timeout of the one health request: each further request would start another instance.
const START_LIMIT: Duration = Duration::from_mins(1);
/// Instances per function, so that simulated calls run concurrently as in AWS.
const CONCURRENCY: &str = "4";

/// Functions of the stack.
pub struct Functions {
    service: Service,
}

impl Functions {
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        Self { service: Service::new(layout, "functions") }
    }

    /// Starts the functions unless they run, waits until `GET /health` answers 200, and returns the base URL.
    pub async fn start(&self, layout: &Layout, backing: &Backing) -> Result<String> {
        let record = match self.service.running()? {
            Some(record) => record,
            None => self.launch(layout, backing).await?,
        };
        let base_url = base_url(record.port);
        let health = format!("{base_url}/health");
        self.service.wait_until(START_LIMIT, async || Ok(http::answers(&health, START_LIMIT).await)).await?;
        Ok(base_url)
    }

    /// Stops the functions. Returns false if they were not running.
    pub async fn stop(&self) -> Result<bool> {
        self.service.stop(Signal::TERM).await
    }

    /// Background process of the functions.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    async fn launch(&self, layout: &Layout, backing: &Backing) -> Result<Record> {
        build(layout).await?;
        progress("Starting the functions");
        let port = self.service.free_port()?;
        let mut watch = backing.tools.cargo_lambda();
        watch
            .args(["watch", "--ignore-changes", "--concurrency", CONCURRENCY])
            .args(["--invoke-address", "127.0.0.1", "--invoke-port", &port.to_string()])
            .current_dir(layout.root())
            .envs(of_functions(backing, &base_url(port))?);
        self.service.spawn(&mut watch, port)
    }
}

/// Builds all binaries of the workspace in one command. Cargo unifies the features of dependencies over the packages of
/// one build, so building them one by one on the first requests would compile dependencies again.
pub async fn build(layout: &Layout) -> Result<()> {
    progress("Building the functions");
    cargo_build(layout, &["--workspace"]).await
}

/// Builds optimised binaries: this tool, and the functions as `sam build` builds them, without the dependency features
/// that only this tool needs.
pub async fn build_optimised(layout: &Layout) -> Result<()> {
    progress("Building optimised functions");
    let folders = std::fs::read_dir(layout.root().join("functions")).context("list the functions")?;
    let names: Vec<String> = folders.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let mut arguments = vec!["--release", "--features", "ringfence-core/vendored-openssl"];
    arguments.extend(names.iter().flat_map(|name| ["--package", name]));
    cargo_build(layout, &arguments).await?;
    cargo_build(layout, &["--release", "--package", "ringfence-dev"]).await
}

async fn cargo_build(layout: &Layout, arguments: &[&str]) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--bins"]).args(arguments).current_dir(layout.root()).kill_on_drop(true);
    if cargo.status().await.context("run cargo build")?.success() {
        return Ok(());
    }
    Err(Error::new("the workspace does not build; see the output of cargo above"))
}

fn base_url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
