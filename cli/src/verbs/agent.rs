//! `cargo ringfence agent`: the Vapi assistants, squads and numbers of an org.

use std::process::ExitCode;

use clap::{ArgGroup, Subcommand};
use migrate::{Act, Answer};
use ringfence_core::admin::NewAgent;
use ringfence_vapi::OrgId;

use crate::administration::{Administrator, unexpected};
use crate::arguments;
use crate::error::Result;

/// Registers agents.
#[derive(Debug, clap::Args)]
pub(crate) struct Agent {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Add(Add),
}

impl Agent {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        match self.verb {
            Verb::Add(verb) => verb.run().await,
        }
    }
}

/// Registers an agent of an org, and applies the platform events that waited for it
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("vapi").required(true).multiple(true))]
struct Add {
    /// The org's id
    #[arg(long)]
    org: OrgId,
    /// What people call it
    #[arg(long, value_parser = arguments::name)]
    name: String,
    /// Whether it answers calls or makes them
    #[arg(long, default_value = "inbound", value_parser = ["inbound", "outbound"])]
    role: String,
    /// Vapi's id of its assistant
    #[arg(long, value_name = "ID", group = "vapi", value_parser = arguments::vapi_id)]
    assistant: Option<String>,
    /// Vapi's id of its squad
    #[arg(long, value_name = "ID", group = "vapi", value_parser = arguments::vapi_id)]
    squad: Option<String>,
    /// Vapi's id of its phone number
    #[arg(long, value_name = "ID", group = "vapi", value_parser = arguments::vapi_id)]
    phone_number_id: Option<String>,
    /// The phone number itself, in E.164
    #[arg(long, value_name = "NUMBER", group = "vapi", value_parser = arguments::phone_number)]
    phone_number: Option<String>,
    #[command(flatten)]
    administrator: Administrator,
}

impl Add {
    async fn run(self) -> Result<ExitCode> {
        let agent = NewAgent {
            name: self.name,
            role: self.role,
            assistant_id: self.assistant,
            squad_id: self.squad,
            phone_number_id: self.phone_number_id,
            phone_number: self.phone_number,
        };
        let answer = self.administrator.perform(|actor| Act::AddAgent { actor, org_id: self.org, agent }).await?;
        let Answer::Agent(added) = answer else { return Err(unexpected(&answer)) };
        println!("id                    {}", added.id);
        println!("kept platform events  {} applied, {} failed", added.events.applied, added.events.failed);
        if added.events.failed > 0 {
            println!("Those that failed are kept still; the log gives the code of each.");
        }
        Ok(ExitCode::SUCCESS)
    }
}
