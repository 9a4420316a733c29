//! `cargo ringfence simulate`: sends whole calls as Vapi does, and then compares every row.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ringfence_vapi::OrgId;

use ringfence_harness::error::{Error, Result};
use ringfence_harness::local::administration::administration;
use ringfence_harness::local::layout::Layout;
use ringfence_harness::local::stack::Stack;
use ringfence_simulate::compare::Comparison;
use ringfence_simulate::ledger::Ledger;
use ringfence_simulate::plan::{Call, Run};
use ringfence_simulate::recording;
use ringfence_simulate::sender::{Pace, Tally};
use ringfence_simulate::{Manner, Target, send};

/// Maximum number of printed differences.
const MAX_DIFFERENCES: usize = 30;
const NOT_UP: &str =
    "the local stack is not up: run `cargo ringfence up` first, or name an org with --org, --key and --url";

/// Sends simulated calls and compares every row with the expected one.
///
/// The calls belong to the local stack's own org, or to the org that --org, --key and --url specify together. Calls of
/// a specified org are marked as test calls, which do not update leads, and their rows are compared if the org is on
/// the local stack.
#[derive(Debug, clap::Args)]
pub(crate) struct Simulate {
    /// Number of calls
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    calls: u32,
    /// Calls per second; without it, as fast as they are answered
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Shuffle the events of all calls
    #[arg(long)]
    shuffle: bool,
    /// Deliver every event N additional times
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u16).range(..=100))]
    duplicates: u16,
    /// Maximum number of concurrent webhooks
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    concurrency: u16,
    /// Seconds to wait for the events in the retry queues
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    timeout: u64,
    #[command(flatten)]
    org: Option<NamedOrg>,
}

/// An org and its webhook.
#[derive(Clone, Debug, clap::Args)]
#[group(requires_all = ["org", "key", "url"])]
struct NamedOrg {
    /// Id of the org
    #[arg(long, required = false)]
    org: OrgId,
    /// Key of the org
    #[arg(long, required = false)]
    key: String,
    /// Webhook URL of the org
    #[arg(long, required = false)]
    url: reqwest::Url,
}

impl Simulate {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let layout = Layout::find()?;
        let stack = Stack::running(&layout)?;
        let (target, ledger) = match (&self.org, stack) {
            (Some(org), stack) => org.target(stack).await?,
            (None, Some(stack)) => own_target(&layout, &stack).await?,
            (None, None) => return Err(Error::new(NOT_UP)),
        };
        // A stack on another machine could not fetch recordings from this machine.
        let storage = if ledger.is_some() { Some(recording::storage().await) } else { None };
        let run = Run::new(Timestamp::now(), self.org.is_some());
        let run = if let Some(storage) = &storage { run.recorded_by(&storage.url) } else { run };
        let calls = run.calls(self.calls as usize);
        let start = Instant::now();
        let tally = send(&target, &calls, self.manner()).await?;
        print_tally(&tally, &calls, start.elapsed());
        let Some(ledger) = ledger else {
            println!("  rows           not compared: this is not the local stack");
            return Ok(exit_code(tally.is_whole()));
        };
        let comparison = ledger.check(target.org, &calls, Duration::from_secs(self.timeout)).await?.comparison;
        print_comparison(&comparison);
        Ok(exit_code(tally.is_whole() && comparison.is_right()))
    }

    fn manner(&self) -> Manner {
        Manner {
            duplicates: self.duplicates.into(),
            shuffle: self.shuffle,
            pace: Pace { rate: self.rate, concurrency: self.concurrency.into() },
            attempts: Manner::PERSISTENT,
        }
    }
}

impl NamedOrg {
    /// Webhook of the specified org, and its ledger if it is on `stack`. Nothing is added to the org.
    async fn target(&self, stack: Option<Stack>) -> Result<(Target, Option<Ledger>)> {
        let target = Target { org: self.org, key: self.key.clone(), webhook_url: self.url.to_string() };
        let ledger = match stack.filter(|stack| target.webhook_url.starts_with(&stack.base_url)) {
            Some(stack) => Some(Ledger::open(&stack.database_url, target.org).await?),
            None => None,
        };
        Ok((target, ledger))
    }
}

/// The stack's own org, with all participants of the calls.
async fn own_target(layout: &Layout, stack: &Stack) -> Result<(Target, Option<Ledger>)> {
    let target = Target::of_stack(stack);
    let mut ledger = Ledger::open(&stack.database_url, target.org).await?;
    ledger.add_cast(&administration(layout, stack)?, target.org, true).await?;
    Ok((target, Some(ledger)))
}

fn exit_code(right: bool) -> ExitCode {
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_tally(tally: &Tally, calls: &[Call], elapsed: Duration) {
    let events: usize = calls.iter().map(|call| call.steps().len()).sum();
    let seconds = elapsed.as_secs_f64();
    println!("  sent           {} webhooks: {events} events of {} calls, in {seconds:.1} s", tally.sent, calls.len());
    println!("  acknowledged   {}", tally.acknowledged);
    if !tally.refusals.is_empty() {
        let answers = tally.refusals.iter().map(|(answer, count)| format!("{answer} ({count}x)")).collect::<Vec<_>>();
        println!("  other answers  {}", answers.join(", "));
        println!("  sent again     {}", tally.repeated);
    }
}

fn print_comparison(comparison: &Comparison) {
    println!("  rows right     {}", comparison.right);
    println!("  rows missing   {}", comparison.missing.len());
    println!("  rows doubled   {}", comparison.doubled.len());
    println!("  rows wrong     {}", comparison.wrong.len());
    for difference in comparison.differences().take(MAX_DIFFERENCES) {
        println!("    {difference}");
    }
    let hidden = comparison.differences().count().saturating_sub(MAX_DIFFERENCES);
    if hidden > 0 {
        println!("    and {hidden} more");
    }
}

/// A positive number of calls per second.
fn rate(text: &str) -> std::result::Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if rate.is_finite() && rate > 0.0 { Ok(rate) } else { Err("a rate must be greater than 0".to_owned()) }
}
