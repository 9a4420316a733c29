//! `ringfence console`: links that sign in to the console.

use std::process::ExitCode;
use std::time::Duration;

use ringfence_protocol::admin::{Command, Reply};
use ringfence_vapi::OrgId;

use crate::arguments;
use crate::backend::{Administrator, Backend, unexpected};
use crate::error::Result;

/// Makes a link that signs in to the console, as one org or as an operator
#[derive(Debug, clap::Args)]
pub struct Console {
    /// Org whose pages the link opens
    #[arg(long, required_unless_present = "operator", conflicts_with = "operator")]
    org: Option<OrgId>,
    /// Open the pages of all orgs; the audit log records each access
    #[arg(long)]
    operator: bool,
    /// Lifetime of the link: 1h, 90m, at most 12h
    #[arg(long, default_value = "1h", value_parser = arguments::lifetime)]
    lifetime: Duration,
    #[command(flatten)]
    administrator: Administrator,
}

impl Console {
    pub async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let lifetime_seconds = self.lifetime.as_secs();
        let command = |actor| Command::MintConsoleToken { actor, org_id: self.org, lifetime_seconds };
        let reply = self.administrator.perform(backend, command).await?;
        let Reply::Console { link, .. } = reply else { return Err(unexpected(&reply)) };
        println!("{link}");
        Ok(ExitCode::SUCCESS)
    }
}
