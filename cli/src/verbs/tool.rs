//! `ringfence tool`: endpoints of an org, for tools that its models call and for messages that the org answers itself.

use std::process::ExitCode;

use clap::{ArgGroup, Subcommand};
use ringfence_protocol::admin::{Command, Reply, Tool as Registered, ToolKind};
use ringfence_vapi::OrgId;

use crate::arguments;
use crate::backend::{Administrator, Backend, unexpected};
use crate::error::{Context, Error, Result};

/// Registers, lists and removes tools.
#[derive(Debug, clap::Args)]
pub struct Tool {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Add(Add),
    List(List),
    Remove(Remove),
    Secret(Secret),
}

impl Tool {
    pub async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        match self.verb {
            Verb::Add(verb) => verb.run(backend).await,
            Verb::List(verb) => verb.run(backend).await,
            Verb::Remove(verb) => verb.run(backend).await,
            Verb::Secret(verb) => verb.run(backend).await,
        }
    }
}

/// Selection of a tool.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").required(true))]
struct Named {
    /// Id of the org
    #[arg(long)]
    org: OrgId,
    /// Name of a function that models call
    #[arg(long, group = "what", value_parser = arguments::vapi_id)]
    name: Option<String>,
    /// Or type of the messages that the org answers itself
    #[arg(long, value_name = "TYPE", group = "what", value_parser = arguments::answerable_message)]
    message: Option<String>,
}

impl Named {
    fn kind_and_name(self) -> Result<(ToolKind, String)> {
        match (self.message, self.name) {
            (Some(message), _) => Ok((ToolKind::Message, message)),
            (None, Some(name)) => Ok((ToolKind::Tool, name)),
            (None, None) => Err(Error::new("--name or --message is required")),
        }
    }
}

/// Registers a tool of an org, or replaces the one of the same name
#[derive(Debug, clap::Args)]
struct Add {
    #[command(flatten)]
    named: Named,
    /// Its endpoint: an https URL with a public address
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// Timeout of a request in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(i32).range(1..=15))]
    timeout: i32,
    /// The tool is idempotent: repeated requests with one idempotency key have one effect, so a request may be repeated
    #[arg(long)]
    idempotent: bool,
    #[command(flatten)]
    administrator: Administrator,
}

impl Add {
    async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let Self { named, endpoint, timeout, idempotent, administrator } = self;
        let org_id = named.org;
        let (kind, name) = named.kind_and_name()?;
        let tool = Registered { kind, name, endpoint, timeout_seconds: timeout, is_idempotent: idempotent };
        let reply = administrator.perform(backend, |actor| Command::SetTool { actor, org_id, tool }).await?;
        let Reply::Done {} = reply else { return Err(unexpected(&reply)) };
        println!("The tool is registered. `ringfence tool secret --org {org_id}` shows the secret of its requests.");
        Ok(ExitCode::SUCCESS)
    }
}

/// Lists the tools of an org
#[derive(Debug, clap::Args)]
struct List {
    /// Id of the org
    #[arg(long)]
    org: OrgId,
}

impl List {
    async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let reply = backend.command(Command::ListTools { org_id: self.org }).await?;
        let Reply::Tools { tools } = reply else { return Err(unexpected(&reply)) };
        println!("{}", serde_json::to_string_pretty(&tools).context("write JSON")?);
        Ok(ExitCode::SUCCESS)
    }
}

/// Removes a tool; models that call it receive the answer that it is not configured
#[derive(Debug, clap::Args)]
struct Remove {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    administrator: Administrator,
}

impl Remove {
    async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let Self { named, administrator } = self;
        let org_id = named.org;
        let (kind, name) = named.kind_and_name()?;
        let reply = administrator.perform(backend, |actor| Command::RemoveTool { actor, org_id, kind, name }).await?;
        let Reply::Done {} = reply else { return Err(unexpected(&reply)) };
        println!("The tool is removed.");
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints the secret that verifies requests to an org's endpoints, by the Standard Webhooks specification
#[derive(Debug, clap::Args)]
struct Secret {
    /// Id of the org
    #[arg(long)]
    org: OrgId,
    #[command(flatten)]
    administrator: Administrator,
}

impl Secret {
    async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let command = |actor| Command::ShowToolSecret { actor, org_id: self.org };
        let reply = self.administrator.perform(backend, command).await?;
        let Reply::ToolSecret { secret } = reply else { return Err(unexpected(&reply)) };
        println!("{secret}");
        Ok(ExitCode::SUCCESS)
    }
}
