//! `ringfence replay`: applies retained events again.

use std::process::ExitCode;

use ringfence_protocol::admin::{Command, Replayable, Reply, Selection};

use super::operations::follow;
use super::selection::{Execution, Selected};
use crate::backend::{Administrator, Backend, unexpected};
use crate::error::{Error, Result};

/// Counts the selected retained events; with --run, applies their effects again. The resulting rows are the same, and
/// damaged rows are restored.
#[derive(Debug, clap::Args)]
pub struct Replay {
    #[command(flatten)]
    selected: Selected,
    /// Replay events that failed and have not been applied since, instead of applied ones
    #[arg(long)]
    failed: bool,
    /// Replay messages whose type was unknown when they were received, instead of applied events
    #[arg(long, conflicts_with = "failed")]
    quarantined: bool,
    #[command(flatten)]
    execution: Execution,
    #[command(flatten)]
    administrator: Administrator,
}

impl Replay {
    pub async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        if self.selected.code.is_some() && !self.failed {
            return Err(Error::new("only failed events have a failure code: name --failed with --code"));
        }
        let kind = match (self.failed, self.quarantined) {
            (true, _) => Replayable::Failed,
            (false, true) => Replayable::Quarantined,
            (false, false) => Replayable::Applied,
        };
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
