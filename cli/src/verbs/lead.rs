//! `ringfence lead`: the people whom an org calls, or who call it.

use std::process::ExitCode;

use clap::{ArgGroup, Subcommand};
use ringfence_protocol::admin::{Command, Reply};
use ringfence_vapi::OrgId;
use serde_json::{Map, Value};

use crate::arguments;
use crate::backend::{Administrator, Backend, unexpected};
use crate::error::Result;

/// Adds and changes leads.
#[derive(Debug, clap::Args)]
pub struct Lead {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Add(Add),
    Change(Change),
}

impl Lead {
    pub async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        match self.verb {
            Verb::Add(verb) => verb.run(backend).await,
            Verb::Change(verb) => verb.run(backend).await,
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
    /// The org's own, for prompts: a JSON object, or @ and the name of a file
    #[arg(long, value_name = "JSON", value_parser = arguments::json_object)]
    metadata: Option<Map<String, Value>>,
    #[command(flatten)]
    administrator: Administrator,
}

impl Add {
    async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let Self { org: org_id, phone, name, metadata, administrator } = self;
        let metadata = metadata.unwrap_or_default();
        let reply =
            administrator.perform(backend, |actor| Command::AddLead { actor, org_id, phone, name, metadata }).await?;
        let Reply::Lead { id } = reply else { return Err(unexpected(&reply)) };
        println!("id  {id}");
        Ok(ExitCode::SUCCESS)
    }
}

/// Gives a lead another name or other metadata
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
struct Change {
    /// The org's id
    #[arg(long)]
    org: OrgId,
    /// The lead's phone number, in E.164
    #[arg(long, value_name = "NUMBER", value_parser = arguments::phone_number)]
    phone: String,
    /// The lead's name
    #[arg(long, group = "change", value_parser = arguments::name)]
    name: Option<String>,
    /// The org's own, for prompts: a JSON object, or @ and the name of a file
    #[arg(long, value_name = "JSON", group = "change", value_parser = arguments::json_object)]
    metadata: Option<Map<String, Value>>,
    #[command(flatten)]
    administrator: Administrator,
}

impl Change {
    async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let Self { org: org_id, phone, name, metadata, administrator } = self;
        let reply = administrator
            .perform(backend, |actor| Command::ChangeLead { actor, org_id, phone, name, metadata })
            .await?;
        let Reply::Lead { id } = reply else { return Err(unexpected(&reply)) };
        println!("id  {id}");
        Ok(ExitCode::SUCCESS)
    }
}
