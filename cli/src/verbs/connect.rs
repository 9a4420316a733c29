//! `ringfence connect`: configures an org's assistants and numbers at Vapi, so that Vapi sends their messages to this
//! stack.

use std::process::ExitCode;

use ringfence_protocol::admin::{Command, Reply};
use ringfence_vapi::OrgId;

use crate::backend::{Administrator, Backend, unexpected};
use crate::error::Result;

/// Sets server URL, credential, retry plan and messages of an org's registered assistants and numbers at Vapi; without
/// --run, prints the changes only
#[derive(Debug, clap::Args)]
pub struct Connect {
    /// Id of the org
    #[arg(long)]
    org: OrgId,
    /// Apply the changes; without it, only print them
    #[arg(long)]
    run: bool,
    #[command(flatten)]
    administrator: Administrator,
}

impl Connect {
    pub async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let Self { org, run, administrator } = self;
        let reply = administrator.perform(backend, |actor| Command::Connect { actor, org_id: org, run }).await?;
        let Reply::Connected(connection) = reply else { return Err(unexpected(&reply)) };
        for inspected in &connection.found {
            println!("{}", inspected.what);
            for wrong in &inspected.wrong {
                println!("  {wrong}");
            }
            if inspected.wrong.is_empty() {
                println!("  is configured correctly");
            }
        }
        let is_wrong = connection.found.iter().any(|inspected| !inspected.wrong.is_empty());
        match (connection.found.is_empty(), is_wrong, connection.changed) {
            (true, ..) => println!("the org has no agents with an assistant or number id: `ringfence agent add`"),
            (_, _, true) => println!("changed; run the command again to verify"),
            (_, true, false) => println!("nothing is changed: use --run to apply the changes"),
            _ => {}
        }
        if connection.failed > 0 {
            println!("{} could not be read or changed", connection.failed);
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }
}
