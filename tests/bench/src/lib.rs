//! The benchmark: the cost of a webhook compared with others in the same run: with pgbench, which runs the same SQL
//! ([`throughput`]), with a plain Node handler ([`peer`]) and with bare upserts of the same rows ([`floor`]).
//!
//! [`site`] is the stack of the benchmark, and [`history`] what its databases begin with. [`events`] defines the events;
//! [`load`] sends them through the functions, [`pgbench`] through `PostgreSQL`'s own benchmark. Each other section
//! measures one aspect. [`table`] prints the results.
#![expect(clippy::print_stdout, reason = "a bench prints its tables")]

mod churn;
mod contention;
mod cpu;
mod drain;
mod events;
mod fanout;
mod floor;
mod growth;
mod history;
mod interactive;
mod load;
mod long_call;
mod maintenance;
mod outage;
mod peer;
mod pgbench;
mod reading;
mod site;
mod size;
mod startup;
mod table;
mod throughput;
mod wire;

use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::ValueEnum;

use self::site::Site;
use self::table::Report;
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::local::layout::Layout;
use ringfence_harness::local::{functions, progress};

/// Duration of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// The figures of docs/PERFORMANCE.md.
    Full,
    /// A functional check. Its figures have no meaning.
    Short,
}

/// Sections that can run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Section {
    /// Sizes of the binaries, and time from exec to the first answer
    Startup,
    /// Bytes and round trips between a function and the database
    Wire,
    /// CPU time of a webhook without the database
    Cpu,
    /// Webhooks compared with pgbench
    Throughput,
    /// Webhooks compared with a plain Node handler
    Peer,
    /// PostgreSQL's CPU for an event, compared with bare upserts of the same rows
    Floor,
    /// PostgreSQL's CPU for the n-th event of a call
    LongCall,
    /// Many connections on one call and on one org
    Contention,
    /// Drain of a retry queue
    Drain,
    /// Webhooks while the database is unavailable
    Outage,
    /// Delay from a webhook to a hundred viewers
    Fanout,
    /// Latency of assistant requests and tool calls
    Interactive,
    /// Effect of ten million claims and a million calls on webhooks and pages
    Growth,
    /// Removal of a million claims during webhooks
    Maintenance,
    /// Dead rows and the growth of indexes during an hour of calls
    Churn,
}

/// Selection and settings of the measurements.
#[derive(Clone, Debug)]
pub struct Options {
    pub length: Length,
    /// All sections if empty.
    pub sections: Vec<Section>,
    /// Numbers of environments. The default numbers if empty.
    pub clients: Vec<u64>,
    /// Number of rounds of the throughput.
    pub rounds: Option<usize>,
    /// Length of the churn. An hour if absent.
    pub churn: Option<Duration>,
}

impl Options {
    fn sections(&self) -> &[Section] {
        if self.sections.is_empty() { Section::value_variants() } else { &self.sections }
    }
}

/// Builds optimised binaries of the workspace, including this tool, and runs the benchmark with them: the load
/// generator must not limit the measured rates.
pub async fn run_optimised(layout: &Layout) -> Result<ExitCode> {
    functions::build_optimised(layout).await?;
    let own = std::env::current_exe().context("find this program")?;
    let target = own.parent().and_then(|profile| profile.parent()).ok_or_else(|| Error::new("no target folder"))?;
    let mut optimised = Command::new(target.join("release").join("ringfence-dev"));
    let status = optimised.args(std::env::args_os().skip(1)).status().context("run the optimised bench")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures, prints the tables and writes them to a file.
pub async fn run(layout: &Layout, options: &Options) -> Result<()> {
    if options.length == Length::Short {
        functions::build(layout).await?;
    }
    // An earlier run that was killed may have left services running.
    stop(layout).await?;
    let outcome = measure(layout, options).await;
    stop(layout).await.and(outcome)
}

/// Stops the services of a benchmark.
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
            Section::Peer => peer::measure(&site, length, &mut report).await?,
            Section::Floor => floor::measure(&site, length, &mut report).await?,
            Section::LongCall => long_call::measure(&site, length, &mut report).await?,
            Section::Contention => contention::measure(&site, length, &mut report).await?,
            Section::Drain => drain::measure(&site, length, &mut report).await?,
            Section::Outage => outage::measure(&site, length, &mut report).await?,
            Section::Interactive => interactive::measure(&site, length, &mut report).await?,
            Section::Fanout => fanout::measure(&site, length, &mut report).await?,
            Section::Growth => growth::measure(&site, length, &mut report).await?,
            Section::Maintenance => maintenance::measure(&site, length, &mut report).await?,
            Section::Churn => churn::measure(&site, options, &mut report).await?,
        }
        // Written after each section, so that a later failure does not lose the results.
        report.write(&layout.path("bench.json"))?;
    }
    println!("{report}");
    Ok(())
}
