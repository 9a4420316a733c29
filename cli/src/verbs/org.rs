//! `cargo ringfence org`: orgs, their keys, and how long their recordings are kept.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use migrate::act::OrganizationKey;
use migrate::{Act, Answer};
use ringfence_vapi::OrgId;
use serde::Serialize;

use crate::administration::{Administrator, unexpected};
use crate::arguments;
use crate::error::{Context, Result};

/// Creates and lists orgs, rotates their keys, and sets what is kept for them.
#[derive(Debug, clap::Args)]
pub(crate) struct Org {
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
}

impl Org {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        match self.verb {
            Verb::Create(verb) => verb.run().await,
            Verb::List(verb) => verb.run().await,
            Verb::RotateKey(verb) => verb.run().await,
            Verb::VapiKey(verb) => verb.run().await,
            Verb::Retention(verb) => verb.run().await,
        }
    }
}

/// Creates an org and prints its webhook URL and its key
#[derive(Debug, clap::Args)]
struct Create {
    /// What people call it
    #[arg(long, value_parser = arguments::name)]
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    administrator: Administrator,
}

impl Create {
    async fn run(self) -> Result<ExitCode> {
        let act = |actor| Act::CreateOrganization { actor, name: self.name };
        print_key(&self.administrator.perform(act).await?, self.json)
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
    async fn run(self) -> Result<ExitCode> {
        let answer = self.administrator.perform(|actor| Act::ListOrganizations { actor }).await?;
        let Answer::Organizations { organizations } = answer else { return Err(unexpected(&answer)) };
        if self.json {
            print_json(&organizations)?;
            return Ok(ExitCode::SUCCESS);
        }
        println!("{:36}  {:>11}  name", "id", "key version");
        for organization in organizations {
            println!("{:36}  {:>11}  {}", organization.id.to_string(), organization.key_version, organization.name);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Gives an org a new key; the earlier ones count for a while more
#[derive(Debug, clap::Args)]
struct RotateKey {
    /// The org's id
    org: OrgId,
    /// How long the earlier keys count: 24h, 90m, 7d; 0s refuses them at once
    #[arg(long, default_value = "24h", value_parser = arguments::overlap)]
    overlap: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    administrator: Administrator,
}

impl RotateKey {
    async fn run(self) -> Result<ExitCode> {
        let overlap_seconds = self.overlap.as_secs();
        let act = |actor| Act::RotateKey { actor, org_id: self.org, overlap_seconds };
        print_key(&self.administrator.perform(act).await?, self.json)
    }
}

/// Keeps an org's private API key at Vapi, encrypted, for recordings whose links have expired; read from standard input
#[derive(Debug, clap::Args)]
struct VapiKey {
    /// The org's id
    org: OrgId,
    /// Forget the key instead
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    administrator: Administrator,
}

impl VapiKey {
    async fn run(self) -> Result<ExitCode> {
        // Not an argument: those are seen by whoever lists processes, and kept by shells.
        let key = if self.remove { None } else { Some(read_line()?.into()) };
        let answer = self.administrator.perform(|actor| Act::SetVapiKey { actor, org_id: self.org, key }).await?;
        let Answer::Done {} = answer else { return Err(unexpected(&answer)) };
        println!("{}", if self.remove { "the key is forgotten" } else { "the key is kept" });
        Ok(ExitCode::SUCCESS)
    }
}

fn read_line() -> Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("read the key from standard input")?;
    Ok(line.trim().to_owned())
}

/// Has an org's recordings removed some days after they were stored
#[derive(Debug, clap::Args)]
struct Retention {
    /// The org's id
    org: OrgId,
    /// How many days, or `forever`
    #[arg(long, value_name = "DAYS", value_parser = days)]
    recordings: Days,
    #[command(flatten)]
    administrator: Administrator,
}

/// A number of days; None: for ever.
#[derive(Clone, Copy, Debug)]
struct Days(Option<i32>);

fn days(text: &str) -> std::result::Result<Days, String> {
    if text == "forever" {
        return Ok(Days(None));
    }
    text.parse().map(|days| Days(Some(days))).map_err(|_| "a number of days, or forever".to_owned())
}

impl Retention {
    async fn run(self) -> Result<ExitCode> {
        let Days(days) = self.recordings;
        let act = |actor| Act::SetRecordingRetention { actor, org_id: self.org, days };
        let answer = self.administrator.perform(act).await?;
        let Answer::Done {} = answer else { return Err(unexpected(&answer)) };
        match days {
            Some(days) => println!("recordings are kept for {days} days"),
            None => println!("recordings are kept for ever"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print_key(answer: &Answer, json: bool) -> Result<ExitCode> {
    let Answer::Organization(organization) = answer else { return Err(unexpected(answer)) };
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
