//! `ringfence token`: tokens for people's screens.

use std::process::ExitCode;
use std::time::Duration;

use ringfence_protocol::admin::{Command, Reply};
use ringfence_vapi::OrgId;

use crate::arguments;
use crate::backend::{Administrator, Backend, unexpected};
use crate::error::Result;

/// Makes a token that watches an org's calls over the WebSocket API and plays their recordings
#[derive(Debug, clap::Args)]
pub struct Token {
    /// The org's id
    #[arg(long)]
    org: OrgId,
    /// How long it counts: 1h, 90m, at most 12h
    #[arg(long, default_value = "1h", value_parser = arguments::lifetime)]
    lifetime: Duration,
    #[command(flatten)]
    administrator: Administrator,
}

impl Token {
    pub async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let lifetime_seconds = self.lifetime.as_secs();
        let command = |actor| Command::MintToken { actor, org_id: self.org, lifetime_seconds };
        let reply = self.administrator.perform(backend, command).await?;
        let Reply::Token { token, .. } = reply else { return Err(unexpected(&reply)) };
        println!("{token}");
        Ok(ExitCode::SUCCESS)
    }
}
