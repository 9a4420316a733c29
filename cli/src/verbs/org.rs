//! `ringfence org`: orgs, their keys, and the retention of their data.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use ringfence_protocol::admin::{Command, OrganizationKey, Reply, RetainedData};
use ringfence_vapi::OrgId;
use serde::Serialize;

use crate::arguments;
use crate::backend::{Administrator, Backend, unexpected};
use crate::error::{Context, Result};
use crate::table::Table;

/// Creates and lists orgs, rotates their keys, and sets their retention.
#[derive(Debug, clap::Args)]
pub struct Org {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(Create),
    List(List),
    RotateKey(RotateKey),
    VapiKey(VapiKey),
    Retention(Retention),
    ZeroRetention(ZeroRetention),
}

impl Org {
    pub async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        match self.verb {
            Verb::Create(verb) => verb.run(backend).await,
            Verb::List(verb) => verb.run(backend).await,
            Verb::RotateKey(verb) => verb.run(backend).await,
            Verb::VapiKey(verb) => verb.run(backend).await,
            Verb::Retention(verb) => verb.run(backend).await,
            Verb::ZeroRetention(verb) => verb.run(backend).await,
        }
    }
}

/// Creates an org and prints its webhook URL and its key
#[derive(Debug, clap::Args)]
struct Create {
    /// Name of the org
    #[arg(long, value_parser = arguments::name)]
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    administrator: Administrator,
}

impl Create {
    async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let command = |actor| Command::CreateOrganization { actor, name: self.name };
        print_key(&self.administrator.perform(backend, command).await?, self.json)
    }
}

/// Lists all orgs, without their keys
#[derive(Debug, clap::Args)]
struct List {
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    administrator: Administrator,
}

impl List {
    async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let reply = self.administrator.perform(backend, |actor| Command::ListOrganizations { actor }).await?;
        let Reply::Organizations { organizations } = reply else { return Err(unexpected(&reply)) };
        if self.json {
            print_json(&organizations)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = Table::new(["id", "key version", "name"]);
        for organization in organizations {
            let cells = [organization.id.to_string(), organization.key_version.to_string(), organization.name];
            table.row(cells);
        }
        print!("{table}");
        Ok(ExitCode::SUCCESS)
    }
}

/// Creates a new key of an org; the earlier keys remain valid for a while
#[derive(Debug, clap::Args)]
struct RotateKey {
    /// Id of the org
    org: OrgId,
    /// Time for which the earlier keys remain valid: 24h, 90m, 7d; 0s revokes them at once
    #[arg(long, default_value = "24h", value_parser = arguments::overlap)]
    overlap: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    administrator: Administrator,
}

impl RotateKey {
    async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let overlap_seconds = self.overlap.as_secs();
        let command = |actor| Command::RotateKey { actor, org_id: self.org, overlap_seconds };
        print_key(&self.administrator.perform(backend, command).await?, self.json)
    }
}

/// Stores an org's private API key at Vapi, encrypted, for recordings whose links have expired; reads it from standard
/// input
#[derive(Debug, clap::Args)]
struct VapiKey {
    /// Id of the org
    org: OrgId,
    /// Remove the key instead
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    administrator: Administrator,
}

impl VapiKey {
    async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        // Not an argument: other users can see the arguments of processes, and shells record them.
        let key = if self.remove { None } else { Some(read_line()?.into()) };
        let reply =
            self.administrator.perform(backend, |actor| Command::SetVapiKey { actor, org_id: self.org, key }).await?;
        let Reply::Done {} = reply else { return Err(unexpected(&reply)) };
        println!("{}", if self.remove { "the key is removed" } else { "the key is stored" });
        Ok(ExitCode::SUCCESS)
    }
}

fn read_line() -> Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("read the key from standard input")?;
    Ok(line.trim().to_owned())
}

/// Sets after how many days data of an org is removed
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("kept").required(true).multiple(true))]
struct Retention {
    /// Id of the org
    org: OrgId,
    /// Days after which recordings are removed, or `forever`
    #[arg(long, value_name = "DAYS", value_parser = days, group = "kept")]
    recordings: Option<Days>,
    /// Days after which the texts of calls and their summaries are removed, or `forever`
    #[arg(long, value_name = "DAYS", value_parser = days, group = "kept")]
    transcripts: Option<Days>,
    /// Days after which retained events are removed: idempotency claims, timeline and source of replay
    #[arg(long, value_name = "DAYS", group = "kept")]
    events: Option<i32>,
    #[command(flatten)]
    administrator: Administrator,
}

/// A number of days. `None` means without a limit.
#[derive(Clone, Copy, Debug)]
struct Days(Option<i32>);

fn days(text: &str) -> std::result::Result<Days, String> {
    if text == "forever" {
        return Ok(Days(None));
    }
    text.parse().map(|days| Days(Some(days))).map_err(|_| "expected a number of days, or forever".to_owned())
}

impl Retention {
    async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let chosen = [
            (RetainedData::Recordings, self.recordings),
            (RetainedData::Transcripts, self.transcripts),
            (RetainedData::Events, self.events.map(|days| Days(Some(days)))),
        ];
        for (kept, days) in chosen {
            let Some(Days(days)) = days else { continue };
            let command = |actor| Command::SetRetention { actor, org_id: self.org, data: kept, days };
            let reply = self.administrator.perform(backend, command).await?;
            let Reply::Done {} = reply else { return Err(unexpected(&reply)) };
            match days {
                Some(days) => println!("{kept} are retained for {days} days"),
                None => println!("{kept} are retained without a limit"),
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Sets whether Vapi stores no calls of an org; if so, Vapi is not asked for missing reports
#[derive(Debug, clap::Args)]
struct ZeroRetention {
    /// Id of the org
    org: OrgId,
    /// `true` or `false`
    #[arg(action = clap::ArgAction::Set)]
    is_zero: bool,
    #[command(flatten)]
    administrator: Administrator,
}

impl ZeroRetention {
    async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let Self { org, is_zero, administrator } = self;
        let reply =
            administrator.perform(backend, |actor| Command::SetZeroRetention { actor, org_id: org, is_zero }).await?;
        let Reply::Done {} = reply else { return Err(unexpected(&reply)) };
        println!("Vapi is {}asked for this org's missing reports", if is_zero { "not " } else { "" });
        Ok(ExitCode::SUCCESS)
    }
}

fn print_key(reply: &Reply, json: bool) -> Result<ExitCode> {
    let Reply::Organization(organization) = reply else { return Err(unexpected(reply)) };
    if json {
        print_json(organization)?;
        return Ok(ExitCode::SUCCESS);
    }
    let OrganizationKey { id, key, key_version, webhook_url } = organization;
    println!("id           {id}");
    println!("key          {key}");
    println!("key_version  {key_version}");
    println!("webhook_url  {webhook_url}");
    Ok(ExitCode::SUCCESS)
}

fn print_json(value: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(value).context("write JSON")?);
    Ok(())
}
