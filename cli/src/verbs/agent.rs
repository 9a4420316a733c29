//! `ringfence agent`: the Vapi assistants, squads and numbers of an org, and their answers to Vapi.

use std::process::ExitCode;

use clap::{ArgGroup, Subcommand};
use ringfence_protocol::admin::{Command, NewAgent, Reply};
use ringfence_vapi::{AgentId, OrgId};
use serde_json::{Map, Value};

use crate::arguments;
use crate::backend::{Administrator, Backend, unexpected};
use crate::error::{Context, Result};

/// Registers, lists and configures agents.
#[derive(Debug, clap::Args)]
pub struct Agent {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Add(Add),
    List(List),
    Configure(Configure),
}

impl Agent {
    pub async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        match self.verb {
            Verb::Add(verb) => verb.run(backend).await,
            Verb::List(verb) => verb.run(backend).await,
            Verb::Configure(verb) => verb.run(backend).await,
        }
    }
}

/// Registers an agent of an org, and applies the unresolved platform events that name it
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("vapi").required(true).multiple(true))]
struct Add {
    /// Id of the org
    #[arg(long)]
    org: OrgId,
    /// Name of the agent
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
    /// Its phone number, in E.164
    #[arg(long, value_name = "NUMBER", group = "vapi", value_parser = arguments::phone_number)]
    phone_number: Option<String>,
    /// Make it the default agent, which answers numbers of the org without an agent
    #[arg(long)]
    default: bool,
    /// Its answers in addition to its ids: a JSON object, or @ and the name of a file (docs/INTERACTIVE.md)
    #[arg(long, value_name = "JSON", value_parser = arguments::json_object)]
    configuration: Option<Map<String, Value>>,
    #[command(flatten)]
    administrator: Administrator,
}

impl Add {
    async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let agent = NewAgent {
            name: self.name,
            role: self.role,
            assistant_id: self.assistant,
            squad_id: self.squad,
            phone_number_id: self.phone_number_id,
            phone_number: self.phone_number,
            is_default: self.default,
            configuration: self.configuration.unwrap_or_default(),
        };
        let reply =
            self.administrator.perform(backend, |actor| Command::AddAgent { actor, org_id: self.org, agent }).await?;
        let Reply::Agent(added) = reply else { return Err(unexpected(&reply)) };
        println!("id                    {}", added.id);
        println!("unresolved events     {} applied, {} failed", added.events.applied, added.events.failed);
        if added.events.more {
            println!("Further events are applied within the next minutes.");
        }
        if added.events.failed > 0 {
            println!("Failed events remain stored; the log contains the code of each.");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Lists the agents of an org and their configuration
#[derive(Debug, clap::Args)]
struct List {
    /// Id of the org
    #[arg(long)]
    org: OrgId,
}

impl List {
    async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let reply = backend.command(Command::ListAgents { org_id: self.org }).await?;
        let Reply::Agents { agents } = reply else { return Err(unexpected(&reply)) };
        println!("{}", serde_json::to_string_pretty(&agents).context("write JSON")?);
        Ok(ExitCode::SUCCESS)
    }
}

/// Makes an agent its org's default, or replaces its configuration
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
struct Configure {
    /// Id of the agent
    agent: AgentId,
    /// Id of the org
    #[arg(long)]
    org: OrgId,
    /// Whether it answers numbers of the org without an agent
    #[arg(long, value_name = "BOOL", group = "change")]
    default: Option<bool>,
    /// Its answers in addition to its ids: a JSON object, or @ and the name of a file (docs/INTERACTIVE.md)
    #[arg(long, value_name = "JSON", group = "change", value_parser = arguments::json_object)]
    configuration: Option<Map<String, Value>>,
    #[command(flatten)]
    administrator: Administrator,
}

impl Configure {
    async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let Self { agent: agent_id, org: org_id, default: is_default, configuration, administrator } = self;
        let command = |actor| Command::ConfigureAgent { actor, org_id, agent_id, is_default, configuration };
        let reply = administrator.perform(backend, command).await?;
        let Reply::Done {} = reply else { return Err(unexpected(&reply)) };
        println!("The agent is configured.");
        Ok(ExitCode::SUCCESS)
    }
}
