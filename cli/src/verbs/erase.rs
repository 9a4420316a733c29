//! `ringfence erase`: erases the data of a call, of a chat, or of a number's calls.

use std::process::ExitCode;

use ringfence_protocol::admin::{Command, Erasure, Reply, Target as What};
use ringfence_vapi::OrgId;

use crate::arguments;
use crate::backend::{Administrator, Backend, unexpected};
use crate::error::{Context, Error, Result};

/// Erases the data of a call, a chat, or a number's calls, everywhere; without --run, only counts it.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct Erase {
    /// Id of the org
    #[arg(long)]
    org: OrgId,
    /// Call, by Vapi's id
    #[arg(long, group = "what")]
    call: Option<String>,
    /// Chat or session, by Vapi's id
    #[arg(long, group = "what")]
    chat: Option<String>,
    /// All calls with this phone number or SIP URI, in any spelling, that began before now, and its lead
    #[arg(long, group = "what", value_parser = arguments::contact)]
    number: Option<String>,
    /// Erase; without it, only count
    #[arg(long)]
    run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    administrator: Administrator,
}

impl Erase {
    pub async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let Self { org, call, chat, number, run, json, administrator } = self;
        let erase = match (call, chat) {
            (Some(call), _) => What::Call(call),
            (None, Some(chat)) => What::Chat(chat),
            (None, None) => match number {
                Some(number) => What::Number(number.into()),
                None => return Err(Error::new("--call, --chat or --number is required")),
            },
        };
        let reply =
            administrator.perform(backend, |actor| Command::Erase { actor, org_id: org, target: erase, run }).await?;
        let Reply::Erased(erasure) = reply else { return Err(unexpected(&reply)) };
        if json {
            println!("{}", serde_json::to_string(&erasure).context("write the result")?);
        } else {
            print(&erasure, run);
        }
        // The erasure is incomplete while there may be more data.
        Ok(if erasure.more { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn print(erasure: &Erasure, run: bool) {
    let Erasure { known, leads, dead_letters, parked, more } = erasure;
    for (what, count) in [
        ("calls", known.calls),
        ("events", known.events),
        ("transcripts", known.transcripts),
        ("recordings", known.recordings),
        ("failures", known.failures),
        ("tool calls", known.tool_calls),
        ("unresolved events", known.unresolved),
        ("messages of unknown types", known.quarantined),
        ("leads", *leads),
    ] {
        println!("{count:>8}  {what}");
    }
    if run {
        println!("{dead_letters:>8}  dead letters");
        println!("{parked:>8}  parked events");
        println!("erased; the objects of recordings are removed within an hour");
    } else {
        println!("nothing is erased: use --run to erase");
    }
    if *more {
        println!("there may be more dead letters or parked events: run the command again");
    }
}
