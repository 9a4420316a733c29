//! The bench: what a webhook costs, measured against pgbench running the same SQL on the same server in the same run.
//!
//! [`site`] is where it takes place. [`events`] are what is sent; [`load`] sends them through the functions, [`pgbench`] through
//! `PostgreSQL`'s own benchmark, and [`throughput`] compares the two. The other sections measure one thing each. [`table`] is what
//! comes out.
#![expect(clippy::print_stdout, reason = "a bench prints its tables")]

mod cpu;
mod drain;
mod events;
mod fanout;
mod growth;
mod interactive;
mod load;
mod maintenance;
mod outage;
mod pgbench;
mod reading;
mod site;
mod size;
mod startup;
mod table;
mod throughput;
mod wire;

use std::process::{Command, ExitCode};

use clap::ValueEnum;

use self::site::Site;
use self::table::Report;
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::local::layout::Layout;
use ringfence_harness::local::{functions, progress};

/// How long the bench takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// What docs/PERFORMANCE.md shows.
    Full,
    /// To see that it works. Its figures mean nothing.
    Short,
}

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Section {
    /// Sizes, and from exec to the first answer
    Startup,
    /// What crosses the wire to the database
    Wire,
    /// A webhook's CPU time without the database
    Cpu,
    /// Webhooks beside pgbench
    Throughput,
    /// A retry queue drained
    Drain,
    /// Webhooks while the database is unavailable
    Outage,
    /// From a webhook to a hundred viewers
    Fanout,
    /// Questions and tool calls, while the caller waits
    Interactive,
    /// Ten million claims and a million calls: what they do to webhooks and to pages
    Growth,
    /// A million claims cleaned away beside webhooks
    Maintenance,
}

/// What is measured, and how.
#[derive(Clone, Debug)]
pub struct Options {
    pub length: Length,
    /// None named: all.
    pub sections: Vec<Section>,
    /// Numbers of environments; none: the usual ones.
    pub clients: Vec<u64>,
    /// Rounds of the throughput.
    pub rounds: Option<usize>,
}

impl Options {
    fn sections(&self) -> &[Section] {
        if self.sections.is_empty() { Section::value_variants() } else { &self.sections }
    }
}

/// Builds optimised binaries of everything, this tool included, and runs the bench with them: what drives the load must not be
/// what limits it.
pub async fn run_optimised(layout: &Layout) -> Result<ExitCode> {
    functions::build_optimised(layout).await?;
    let own = std::env::current_exe().context("find this program")?;
    let target = own.parent().and_then(|profile| profile.parent()).ok_or_else(|| Error::new("no target folder"))?;
    let mut optimised = Command::new(target.join("release").join("ringfence-dev"));
    let status = optimised.args(std::env::args_os().skip(1)).status().context("run the optimised bench")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures, prints the tables and writes them down.
pub async fn run(layout: &Layout, options: &Options) -> Result<()> {
    if options.length == Length::Short {
        functions::build(layout).await?;
    }
    // Of an earlier run that was killed.
    stop(layout).await?;
    let outcome = measure(layout, options).await;
    stop(layout).await.and(outcome)
}

/// Stops what a bench has started.
pub async fn stop(layout: &Layout) -> Result<()> {
    let ministack = outage::stop(layout).await;
    site::stop(layout).await.and(ministack)
}

async fn measure(layout: &Layout, options: &Options) -> Result<()> {
    let site = Site::start(layout).await?;
    let (mut report, length) = (Report::default(), options.length);
    for section in options.sections() {
        progress(&format!("Measuring: {}", section.to_possible_value().unwrap_or_default().get_name()));
        match section {
            Section::Startup => startup::measure(&site, length, &mut report).await?,
            Section::Wire => wire::measure(&site, &mut report).await?,
            Section::Cpu => cpu::measure(&site, length, &mut report)?,
            Section::Throughput => throughput::measure(&site, options, &mut report).await?,
            Section::Drain => drain::measure(&site, length, &mut report).await?,
            Section::Outage => outage::measure(&site, length, &mut report).await?,
            Section::Interactive => interactive::measure(&site, length, &mut report).await?,
            Section::Fanout => fanout::measure(&site, length, &mut report).await?,
            Section::Growth => growth::measure(&site, length, &mut report).await?,
            Section::Maintenance => maintenance::measure(&site, length, &mut report).await?,
        }
        // As far as it has come: a section that fails later takes nothing of this along.
        report.write(&layout.path("bench.json"))?;
    }
    println!("{report}");
    Ok(())
}
