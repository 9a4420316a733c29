//! `ringfence migrate`: brings a database's schema up to date.

use std::process::ExitCode;

use ringfence_protocol::admin::{Command, Reply};

use crate::backend::{Backend, unexpected};
use crate::error::Result;

/// Applies the missing migrations. `up` and every deployment do this, too.
#[derive(Debug, clap::Args)]
pub struct Migrate {}

impl Migrate {
    pub async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let reply = backend.command(Command::Migrate).await?;
        let Reply::Migrated { applied } = reply else { return Err(unexpected(&reply)) };
        if applied.is_empty() {
            println!("Nothing to apply: the schema is up to date.");
        }
        for migration in applied {
            println!("applied {migration}");
        }
        Ok(ExitCode::SUCCESS)
    }
}
