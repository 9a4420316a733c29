//! The one call that `up` sends, to show that everything works.

use std::time::Duration;

use jiff::Timestamp;

use super::ledger::Ledger;
use super::plan::Run;
use super::sender::Pace;
use super::studio::Studio;
use super::{Manner, Target, send, show};
use crate::administration::local::administration;
use crate::error::{Error, Result};
use crate::local::layout::Layout;
use crate::local::progress;
use crate::local::stack::Stack;

/// The functions' first invocations are their slowest.
const PATIENCE: Duration = Duration::from_mins(1);

/// Sends one call to the stack's own org and prints the rows that it made. They are compared too.
pub(crate) async fn demonstrate(layout: &Layout, stack: &Stack) -> Result<()> {
    progress("Sending a simulated call");
    let target = Target::of_stack(stack);
    let mut ledger = Ledger::open(&stack.database_url, target.org).await?;
    ledger.add_cast(&administration(layout, stack)?, target.org, true).await?;
    let studio = Studio::open().await?;
    let calls = Run::new(Timestamp::now(), false).recorded_by(&studio.url).calls(1);
    let pace = Pace { rate: None, concurrency: 1 };
    let manner = Manner { duplicates: 0, shuffle: false, pace, attempts: Manner::PERSISTENT };

    let tally = send(&target, &calls, manner).await?;
    let findings = ledger.check(target.org, &calls, PATIENCE).await?;
    println!("\n  The simulated call {}, sent in {} webhooks, made these rows:\n", calls[0].id, tally.sent);
    print!("{}", show::tables(&findings.rows));
    if tally.is_whole() && findings.comparison.is_right() {
        return Ok(());
    }
    let differences: Vec<String> = findings.comparison.differences().collect();
    Err(Error::new(format!(
        "the simulated call did not make the rows that it must:\n  {} of {} webhooks acknowledged\n  {}\nthe functions' log is in {}",
        tally.acknowledged,
        tally.sent,
        differences.join("\n  "),
        layout.logs().display(),
    )))
}
