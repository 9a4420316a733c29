//! `cargo ringfence lead`: the people whom an org calls, or who call it.

use std::process::ExitCode;

use clap::Subcommand;
use migrate::{Act, Answer};
use ringfence_vapi::OrgId;

use crate::administration::{Administrator, unexpected};
use crate::arguments;
use crate::error::Result;

/// Adds leads.
#[derive(Debug, clap::Args)]
pub(crate) struct Lead {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Add(Add),
}

impl Lead {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        match self.verb {
            Verb::Add(verb) => verb.run().await,
        }
    }
}

/// Adds a lead to an org; calls from or to its number are then linked to it
#[derive(Debug, clap::Args)]
struct Add {
    /// The org's id
    #[arg(long)]
    org: OrgId,
    /// The lead's phone number, in E.164
    #[arg(long, value_name = "NUMBER", value_parser = arguments::phone_number)]
    phone: String,
    /// The lead's name
    #[arg(long, value_parser = arguments::name)]
    name: Option<String>,
    #[command(flatten)]
    administrator: Administrator,
}

impl Add {
    async fn run(self) -> Result<ExitCode> {
        let act = |actor| Act::AddLead { actor, org_id: self.org, phone: self.phone, name: self.name };
        let answer = self.administrator.perform(act).await?;
        let Answer::Lead { id } = answer else { return Err(unexpected(&answer)) };
        println!("id  {id}");
        Ok(ExitCode::SUCCESS)
    }
}
