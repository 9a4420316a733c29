//! `cargo ringfence down`: stops what `up` and `env` started.

use std::process::ExitCode;

use crate::deployed;
use ringfence_harness::error::Result;
use ringfence_harness::local::backing::lock;
use ringfence_harness::local::layout::Layout;
use ringfence_harness::local::stack::{self, Stack};

/// Stops the local stack; its data is retained.
#[derive(Debug, clap::Args)]
pub(crate) struct Down {
    /// Also remove the stack's data and secrets
    #[arg(long)]
    purge: bool,
}

impl Down {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let layout = Layout::find()?;
        let _lock = lock(&layout, "stack.lock")?;
        let deployment = deployed::stop(&layout).await?;
        let stopped = Stack::stop(&layout).await? || deployment;
        println!("{}", if stopped { "The local stack is stopped." } else { "The local stack was not running." });
        if self.purge {
            stack::purge(&layout)?;
            println!("Its data is removed, except a database on a server of DATABASE_URL.");
        }
        Ok(ExitCode::SUCCESS)
    }
}
