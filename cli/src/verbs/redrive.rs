//! `ringfence redrive`: moves dead letters back to their retry queues.

use std::process::ExitCode;

use ringfence_protocol::admin::{Command, DeadLetters, Reply, Selection};

use super::operations::follow;
use super::selection::{Execution, Selected};
use crate::backend::{Administrator, Backend, unexpected};
use crate::error::Result;

/// Counts the selected dead letters; with --run, sends them back to their retry queues.
#[derive(Debug, clap::Args)]
pub struct Redrive {
    #[command(flatten)]
    selected: Selected,
    #[command(flatten)]
    execution: Execution,
    #[command(flatten)]
    administrator: Administrator,
}

impl Redrive {
    pub async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let Execution { run, rate: per_second } = self.execution;
        let selection = Selection::from(self.selected);
        if run {
            let start = |actor, id| Command::StartRedrive { actor, id, selection, per_second, before: None };
            return follow(backend, &self.administrator, start).await;
        }
        let reply = self.administrator.perform(backend, |_| Command::CountRedrive { selection }).await?;
        let Reply::DeadLetters(found) = reply else { return Err(unexpected(&reply)) };
        print(found);
        Ok(ExitCode::SUCCESS)
    }
}

fn print(found: DeadLetters) {
    println!("  selected   {}{}", found.selected, if found.more { " or more" } else { "" });
    if found.unknown > 0 {
        println!("  unknown    {} that are not events, name an unknown org, or cannot be read now", found.unknown);
    }
    if found.selected > 0 {
        println!("Send them back with --run.");
    }
}
