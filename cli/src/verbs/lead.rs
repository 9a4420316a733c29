//! `ringfence lead`: the leads of an org.

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
    /// Id of the org
    #[arg(long)]
    org: OrgId,
    /// Phone number of the lead, in E.164
    #[arg(long, value_name = "NUMBER", value_parser = arguments::phone_number)]
    phone: String,
    /// Name of the lead
    #[arg(long, value_parser = arguments::name)]
    name: Option<String>,
    /// Metadata for prompts: a JSON object, or @ and the name of a file
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

/// Changes the name or metadata of a lead
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
struct Change {
    /// Id of the org
    #[arg(long)]
    org: OrgId,
    /// Phone number of the lead, in E.164
    #[arg(long, value_name = "NUMBER", value_parser = arguments::phone_number)]
    phone: String,
    /// Name of the lead
    #[arg(long, group = "change", value_parser = arguments::name)]
    name: Option<String>,
    /// Metadata for prompts: a JSON object, or @ and the name of a file
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
