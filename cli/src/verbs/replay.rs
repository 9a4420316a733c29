//! `ringfence replay`: kept events are applied once more.

use std::process::ExitCode;
use std::time::Duration;

use ringfence_protocol::admin::{Command, ReplayCursor, Replayable, Replayed, Reply, Selection};
use tokio::time::Instant;

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
        let total = pages(backend, &self.administrator, kind, &selection, self.execution.rate).await?;
        println!("  replayed   {}", total.replayed);
        if total.failed == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        println!("  failed     {}; the log has each with its code", total.failed);
        Ok(ExitCode::FAILURE)
    }
}

/// A page holds what may be replayed in a second, and takes a second at least.
async fn pages(
    backend: &impl Backend,
    administrator: &Administrator,
    kind: Replayable,
    selection: &Selection,
    rate: u32,
) -> Result<Replayed> {
    let mut total = Replayed::default();
    let mut after: Option<ReplayCursor> = None;
    loop {
        let next_page = Instant::now() + Duration::from_secs(1);
        let page = |actor| Command::Replay {
            actor,
            kind,
            selection: selection.clone(),
            after: after.clone(),
            limit: rate.into(),
        };
        let answer = administrator.perform(backend, page).await?;
        let Reply::Replayed(page) = answer else { return Err(unexpected(&answer)) };
        total.replayed += page.replayed;
        total.failed += page.failed;
        after = page.next;
        if after.is_none() {
            return Ok(total);
        }
        tokio::time::sleep_until(next_page).await;
    }
}
