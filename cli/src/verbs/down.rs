//! `cargo ringfence down`: stops what `up` and `env` started.

use std::process::ExitCode;

use crate::deployed;
use crate::error::Result;
use crate::local::backing::lock;
use crate::local::layout::Layout;
use crate::local::stack::{self, Stack};

/// Stops the local stack; its data stays.
#[derive(Debug, clap::Args)]
pub(crate) struct Down {
    /// Remove the stack's data and secrets too
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
            println!("Its data is removed. A database on a server that DATABASE_URL named is not touched.");
        }
        Ok(ExitCode::SUCCESS)
    }
}
