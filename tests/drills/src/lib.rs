//! Drills: faults on purpose, while calls come in, and every row compared afterwards. The promise that they try is that nothing
//! that was acknowledged is lost, and nothing is applied twice.
//!
//! [`site`] is what they take place in, with a proxy before the database and one before the queues. [`traffic`] is what is
//! sent meanwhile, [`faults`] what fails, and [`verdict`] what is found in the end.
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

/// A fault, or what is hard without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Drill {
    /// Each event is delivered a thousand times, over 50 connections
    Duplicates,
    /// All events are mixed up, and each comes twice
    Shuffle,
    /// Functions are killed after their commit and at any time, and the database's sessions are terminated
    Kill,
    /// Connections to the database are cut before, while and after a statement is worked on
    Cut,
    /// The database takes connections and statements and never answers
    Hang,
    /// The database is stopped, and started again later
    Outage,
    /// The same, and every function is killed meanwhile, so that it starts without a database
    ColdOutage,
    /// The database is unavailable for longer than the first ten back-offs
    LongOutage,
    /// The queues are unavailable, the database is not
    SqsDown,
    /// Neither the database nor the queues are there
    BothDown,
    /// A function is killed while it uploads a recording of 200 MB
    Recordings,
    /// Some events can never apply, until the cause is fixed and they are redriven
    Poison,
}

impl Drill {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// How long drills take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// As promised: a minute of outage, a hundred webhooks a second.
    Full,
    /// For every day, and for CI.
    Short,
}

/// Runs drills one after another, prints a line for each, and returns whether every promise was kept.
pub async fn run(layout: &Layout, drills: &[Drill], length: Length) -> Result<bool> {
    // Of an earlier run that was killed.
    stop_services(layout).await?;
    let outcome = run_all(layout, drills, length).await;
    stop_services(layout).await.and(outcome)
}

/// Stops what a drill that was interrupted has started.
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
        // Each has a site of its own: what one leaves behind would be found in the next.
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
    let median = verdict.median.unwrap_or_default().as_secs_f64() * 1_000.0;
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
        format!("{median:.1} ms"),
    ]
}

/// What a drill found wrong.
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
        println!("    {} webhooks were given up by a sender that repeats", verdict.given_up);
    }
}
