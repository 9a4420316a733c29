//! `cargo ringfence env`: the environment for a manual `cargo lambda watch`.

use std::process::ExitCode;

use ringfence_harness::error::Result;
use ringfence_harness::local::backing::{Backing, lock};
use ringfence_harness::local::environment::{export_line, of_functions};
use ringfence_harness::local::layout::Layout;

/// Default URL of a manual `cargo lambda watch`. The watch that `up` starts uses another port, so both can run.
const WATCH_URL: &str = "http://127.0.0.1:9000";

/// Prints the functions' environment for a shell, and starts PostgreSQL and the queues for them:
/// `eval "$(cargo ringfence env)"`, then `cargo lambda watch`.
#[derive(Debug, clap::Args)]
pub(crate) struct Env;

impl Env {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let layout = Layout::find()?;
        let _lock = lock(&layout, "stack.lock")?;
        let backing = Backing::start(&layout).await?;
        for (name, value) in of_functions(&backing, WATCH_URL)? {
            println!("{}", export_line(&name, &value));
        }
        Ok(ExitCode::SUCCESS)
    }
}
