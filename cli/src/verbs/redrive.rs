//! `ringfence redrive`: dead letters go back to their retry queues.

use std::process::ExitCode;

use ringfence_protocol::admin::{Command, DeadLetters, Reply, Selection};

use super::selection::{Execution, Selected};
use crate::backend::{Administrator, Backend, unexpected};
use crate::error::Result;

/// Counts the dead letters that are selected; with --run, sends them back to the retry queues they came from.
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
        let Execution { run, rate } = self.execution;
        let selection = Selection::from(self.selected);
        let (mut redriven, mut before) = (0, None);
        let found = loop {
            let act = |actor| Command::Redrive { actor, selection: selection.clone(), run, per_second: rate, before };
            let answer = self.administrator.perform(backend, act).await?;
            let Reply::DeadLetters(found) = answer else { return Err(unexpected(&answer)) };
            redriven += found.redriven;
            before = Some(found.before);
            // One act has a time limit. Another that moved nothing would find the same again.
            if !found.more || found.redriven == 0 {
                break found;
            }
        };
        print(found, redriven, run);
        Ok(ExitCode::SUCCESS)
    }
}

fn print(found: DeadLetters, redriven: u64, run: bool) {
    if run {
        println!("  redriven   {redriven}");
    } else {
        println!("  selected   {}{}", found.selected, if found.more { " or more" } else { "" });
    }
    if found.unknown > 0 {
        println!("  left       {} that are no event, name no org that is known, or cannot be read now", found.unknown);
    }
    if !run && found.selected > 0 {
        println!("Send them back with --run.");
    }
}
