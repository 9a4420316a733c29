//! MiniStack, which provides the local SQS.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::layout::Layout;
use super::process::{Record, Service};
use super::queues::{ACCESS_KEY, REGION};
use super::tools::Tools;
use super::{http, progress};
use crate::error::Result;

const START_LIMIT: Duration = Duration::from_mins(1);
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// An instance of MiniStack: of the stack, the tests, the drills or the benchmark.
pub struct MiniStack {
    service: Service,
    folder: PathBuf,
    /// Whether queues and messages survive a restart.
    lasting: bool,
}

impl MiniStack {
    /// Instance of the stack. Waiting retries survive `down` and `up`.
    #[must_use]
    pub fn of_stack(layout: &Layout) -> Self {
        Self { service: Service::new(layout, "ministack"), folder: layout.path("ministack"), lasting: true }
    }

    /// Instance of the tests.
    #[must_use]
    pub fn of_tests(layout: &Layout) -> Self {
        Self { service: Service::new(layout, "test-ministack"), folder: layout.path("test-ministack"), lasting: false }
    }

    /// Instance of the drills. It starts empty.
    #[must_use]
    pub fn of_drills(layout: &Layout) -> Self {
        Self {
            service: Service::new(layout, "drill-ministack"),
            folder: layout.path("drill-ministack"),
            lasting: false,
        }
    }

    /// Instance of the benchmark. It starts empty.
    #[must_use]
    pub fn of_bench(layout: &Layout) -> Self {
        Self {
            service: Service::new(layout, "bench-ministack"),
            folder: layout.path("bench-ministack"),
            lasting: false,
        }
    }

    /// Starts MiniStack unless it runs, waits until it answers, and returns its endpoint.
    pub async fn start(&self, tools: &Tools) -> Result<String> {
        let record = match self.service.running()? {
            Some(record) => record,
            None => self.launch(tools)?,
        };
        let endpoint = format!("http://127.0.0.1:{}", record.port);
        let health = format!("{endpoint}/_ministack/health");
        self.service.wait_until(START_LIMIT, async || Ok(http::answers(&health, ANSWER_LIMIT).await)).await?;
        Ok(endpoint)
    }

    /// Stops MiniStack. Returns false if it was not running.
    pub async fn stop(&self) -> Result<bool> {
        self.service.stop(Signal::TERM).await
    }

    /// Background process of MiniStack.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    fn launch(&self, tools: &Tools) -> Result<Record> {
        progress("Starting MiniStack");
        let port = self.service.free_port()?;
        let mut server = tools.ministack();
        server
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("MINISTACK_REGION", REGION)
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", ACCESS_KEY)
            .env("STATE_DIR", &self.folder)
            .env("PERSIST_STATE", if self.lasting { "1" } else { "0" });
        self.service.spawn(&mut server, port)
    }
}
