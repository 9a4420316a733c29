//! Drills: fault injection while calls arrive, after which every row is compared. They verify that no acknowledged
//! event is lost and that no event is applied twice.
//!
//! [`site`] is the stack of a drill, with a proxy in front of the database and one in front of the queues. [`traffic`]
//! sends the calls, [`faults`] injects the faults, and [`verdict`] compares the result.
#![expect(clippy::print_stdout, reason = "a drill prints its verdict")]

mod faults;
mod poison;
mod recordings;
mod site;
mod tools;
mod traffic;
mod verdict;

use std::time::Instant;

use clap::ValueEnum;

use self::site::{Site, stop_services};
use self::traffic::{send_all, tenants};
use self::verdict::Verdict;
use ringfence_cli::table::Table;
use ringfence_harness::error::{Error, Result};
use ringfence_harness::local::layout::Layout;
use ringfence_harness::local::progress;

/// A fault, or a load that is difficult without a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Drill {
    /// Each event is delivered a thousand times, over 50 connections
    Duplicates,
    /// All events are shuffled, and each is delivered twice
    Shuffle,
    /// Functions are killed after their commit and at any time, and the database's sessions are terminated
    Kill,
    /// Connections to the database are cut before, during and after the processing of a statement
    Cut,
    /// The database accepts connections and statements and never answers
    Hang,
    /// The database is stopped and started again later
    Outage,
    /// Like `outage`, and every function is killed in the meantime, so that it starts without a database
    ColdOutage,
    /// The database is unavailable for longer than the first ten backoffs
    LongOutage,
    /// The queues are unavailable, and the database is available
    SqsDown,
    /// The database and the queues are unavailable
    BothDown,
    /// A function is killed while it uploads a recording of 200 MB
    Recordings,
    /// Some events cannot be applied until the cause is fixed and they are redriven
    Poison,
}

impl Drill {
    /// Name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// Duration of drills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// The full load: a minute of outage, a hundred webhooks a second.
    Full,
    /// A short load for everyday use and CI.
    Short,
}

/// Runs drills one after another, prints a line for each, and returns whether all succeeded.
pub async fn run(layout: &Layout, drills: &[Drill], length: Length) -> Result<bool> {
    // An earlier run that was killed may have left services running.
    stop_services(layout).await?;
    let outcome = run_all(layout, drills, length).await;
    stop_services(layout).await.and(outcome)
}

/// Stops the services of an interrupted drill.
pub async fn stop(layout: &Layout) -> Result<()> {
    stop_services(layout).await
}

async fn run_all(layout: &Layout, drills: &[Drill], length: Length) -> Result<bool> {
    let mut table = Table::new(HEADINGS);
    let outcome = fill(&mut table, layout, drills, length).await;
    print!("{table}");
    outcome
}

async fn fill(table: &mut Table, layout: &Layout, drills: &[Drill], length: Length) -> Result<bool> {
    let mut all_kept = true;
    for drill in drills {
        progress(&format!("Drill: {}", drill.name()));
        // Each drill has its own site, so that the rows of one do not affect the next.
        let site = Site::start(layout).await?;
        let verdict = match drill {
            Drill::Poison => poison::run(&site).await,
            _ => run_one(&site, *drill, length).await,
        };
        site.stop().await?;
        let verdict = verdict.map_err(|error| Error::new(format!("the drill {} failed: {error}", drill.name())))?;
        table.row(row(drill.name(), &verdict));
        print_faults(&verdict);
        all_kept &= verdict.is_kept();
    }
    Ok(all_kept)
}

async fn run_one(site: &Site<'_>, drill: Drill, length: Length) -> Result<Verdict> {
    let (load, fault) = faults::plan(drill, length);
    let tenants = tenants(site, load).await?;
    faults::prepare(site, drill, &tenants).await?;
    let began = Instant::now();
    let (tallies, ended) = tokio::join!(send_all(&tenants, load), faults::inject(site, drill, fault));
    let verdict = Verdict::reach(site, &tenants, &tallies?, (began, ended?)).await?;
    faults::examine(site, drill, &verdict).await?;
    Ok(verdict)
}

const HEADINGS: [&str; 11] = [
    "drill",
    "sent",
    "acknowledged",
    "503",
    "applied",
    "duplicates",
    "dead",
    "lost",
    "wrong rows",
    "drained in",
    "median answer",
];
const MAX_DIFFERENCES: usize = 20;

fn row(name: String, verdict: &Verdict) -> [String; 11] {
    let Verdict { sent, acknowledged, refused, applied, duplicates, dead, lost, differences, drain, .. } = verdict;
    // Empty for a drill without a time of fault.
    let median = verdict.median.map(|median| format!("{:.1} ms", median.as_secs_f64() * 1_000.0));
    [
        name,
        sent.to_string(),
        acknowledged.to_string(),
        refused.to_string(),
        applied.to_string(),
        duplicates.to_string(),
        dead.to_string(),
        lost.len().to_string(),
        differences.len().to_string(),
        format!("{:.1} s", drain.as_secs_f64()),
        median.unwrap_or_default(),
    ]
}

/// Prints the faults that a drill found.
fn print_faults(verdict: &Verdict) {
    let Verdict { lost, differences, .. } = verdict;
    for lost in lost.iter().take(MAX_DIFFERENCES) {
        println!("    lost     {lost}");
    }
    for difference in differences.iter().take(MAX_DIFFERENCES) {
        println!("    {difference}");
    }
    if verdict.waiting > 0 {
        println!("    {} messages still wait in the queues", verdict.waiting);
    }
    if verdict.given_up > 0 {
        println!("    {} webhooks were never acknowledged to a repeating sender", verdict.given_up);
    }
}
