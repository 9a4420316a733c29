//! The local cloud: a MiniStack that runs the deployed functions. Its state is in memory, so each start is an empty
//! account.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::tools::SamTools;
use ringfence_harness::error::{Context, Result};
use ringfence_harness::local::layout::{Layout, remove};
use ringfence_harness::local::process::{Record, Service};
use ringfence_harness::local::{http, progress};

const START_LIMIT: Duration = Duration::from_mins(1);
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Process of the cloud.
pub(super) struct Cloud {
    service: Service,
    folder: PathBuf,
}

impl Cloud {
    pub(super) fn of(layout: &Layout) -> Self {
        Self { service: Service::new(layout, "deployed-ministack"), folder: layout.path("deployed") }
    }

    /// Restarts the cloud, waits until it answers, and returns its endpoint.
    pub(super) async fn start(&self, tools: &SamTools) -> Result<String> {
        self.stop().await?;
        progress("Starting MiniStack for the deployment");
        let record = self.launch(tools)?;
        let endpoint = format!("http://127.0.0.1:{}", record.port);
        let health = format!("{endpoint}/_ministack/health");
        self.service.wait_until(START_LIMIT, async || Ok(http::answers(&health, ANSWER_LIMIT).await)).await?;
        Ok(endpoint)
    }

    /// Stops the cloud and removes the files that it unpacked. Returns false if it was not running.
    pub(super) async fn stop(&self) -> Result<bool> {
        let stopped = self.service.stop(Signal::TERM).await?;
        remove(&self.folder)?;
        Ok(stopped)
    }

    /// End of its log, which includes the logs of the functions.
    pub(super) fn log_tail(&self) -> String {
        self.service.log_tail()
    }

    /// The functions inherit its environment. It is empty, so that they have only the variables of the template.
    fn launch(&self, tools: &SamTools) -> Result<Record> {
        std::fs::create_dir_all(&self.folder).context("make the folder of the deployment")?;
        let port = self.service.free_port()?;
        let mut server = tools.command("ministack");
        server
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", &self.folder)
            .env("TMPDIR", &self.folder)
            .env("BIND_HOST", "127.0.0.1")
            // Part of the queues' URLs and of the address to which the migration sends its response.
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
            .current_dir(&self.folder);
        self.service.spawn(&mut server, port)
    }
}
