//! `ringfence token`: tokens for viewers.

use std::process::ExitCode;
use std::time::Duration;

use ringfence_protocol::admin::{Command, Reply};
use ringfence_vapi::OrgId;

use crate::arguments;
use crate::backend::{Administrator, Backend, unexpected};
use crate::error::Result;

/// Creates a token for watching an org's calls over the WebSocket API and for playing their recordings
#[derive(Debug, clap::Args)]
pub struct Token {
    /// Id of the org
    #[arg(long)]
    org: OrgId,
    /// Lifetime of the token: 1h, 90m, at most 12h
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
