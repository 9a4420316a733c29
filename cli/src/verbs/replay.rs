//! `ringfence replay`: kept events are applied once more.

use std::process::ExitCode;

use ringfence_protocol::admin::{Command, Replayable, Reply, Selection};

use super::operations::follow;
use super::selection::{Execution, Selected};
use crate::backend::{Administrator, Backend, unexpected};
use crate::error::{Error, Result};

/// Counts the kept events that are selected; with --run, applies their effects once more. That ends in the same rows, or in whole
/// ones where somebody damaged them.
#[derive(Debug, clap::Args)]
pub struct Replay {
    #[command(flatten)]
    selected: Selected,
    /// Events that failed and were not applied since, instead of applied ones
    #[arg(long)]
    failed: bool,
    #[command(flatten)]
    execution: Execution,
    #[command(flatten)]
    administrator: Administrator,
}

impl Replay {
    pub async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        if self.selected.code.is_some() && !self.failed {
            return Err(Error::new("applied events have no failure code: name --failed with --code"));
        }
        let kind = if self.failed { Replayable::Failed } else { Replayable::Applied };
        let selection = Selection::from(self.selected);
        let count = Command::CountReplay { kind, selection: selection.clone() };
        let answer = self.administrator.perform(backend, |_| count).await?;
        let Reply::Count { events } = answer else { return Err(unexpected(&answer)) };
        println!("  selected   {events}");
        if !self.execution.run {
            if events > 0 {
                println!("Apply them with --run.");
            }
            return Ok(ExitCode::SUCCESS);
        }
        let per_second = self.execution.rate;
        follow(backend, &self.administrator, |actor, id| Command::StartReplay {
            actor,
            id,
            kind,
            selection,
            per_second,
        })
        .await
    }
}
