//! The call that `up` sends to show that the stack works.

use std::time::Duration;

use jiff::Timestamp;

use ringfence_harness::error::{Error, Result};
use ringfence_harness::local::administration::administration;
use ringfence_harness::local::layout::Layout;
use ringfence_harness::local::progress;
use ringfence_harness::local::stack::Stack;
use ringfence_simulate::ledger::Ledger;
use ringfence_simulate::plan::Run;
use ringfence_simulate::recording;
use ringfence_simulate::sender::Pace;
use ringfence_simulate::{Manner, Target, send, show};

/// The first invocations of the functions are the slowest.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Sends one call to the stack's own org, compares its rows with the expected rows, and prints them.
pub(crate) async fn demonstrate(layout: &Layout, stack: &Stack) -> Result<()> {
    progress("Sending a simulated call");
    let target = Target::of_stack(stack);
    let mut ledger = Ledger::open(&stack.database_url, target.org).await?;
    ledger.add_cast(&administration(layout, stack)?, target.org, true).await?;
    let storage = recording::storage().await;
    let calls = Run::new(Timestamp::now(), false).recorded_by(&storage.url).calls(1);
    let pace = Pace { rate: None, concurrency: 1 };
    let manner = Manner { duplicates: 0, shuffle: false, pace, attempts: Manner::PERSISTENT };

    let tally = send(&target, &calls, manner).await?;
    let findings = ledger.check(target.org, &calls, TIMEOUT).await?;
    println!("\n  The simulated call {}, sent in {} webhooks, created these rows:\n", calls[0].id, tally.sent);
    print!("{}", show::tables(&findings.rows));
    if tally.is_whole() && findings.comparison.is_right() {
        return Ok(());
    }
    let differences: Vec<String> = findings.comparison.differences().collect();
    Err(Error::new(format!(
        "the rows of the simulated call are wrong:\n  {} of {} webhooks acknowledged\n  {}\n\
         the functions' log is in {}",
        tally.acknowledged,
        tally.sent,
        differences.join("\n  "),
        layout.logs().display(),
    )))
}
