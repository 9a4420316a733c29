//! The bench: what a webhook costs, measured against pgbench running the same SQL on the same server in the same run.
//!
//! [`site`] is where it takes place. [`events`] are what is sent; [`load`] sends them through the functions, [`pgbench`] through
//! `PostgreSQL`'s own benchmark, and [`throughput`] compares the two. The other sections measure one thing each. [`table`] is what
//! comes out.

mod drain;
mod events;
mod load;
mod pgbench;
mod process;
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
use crate::error::{Context, Error, Result};
use crate::local::layout::Layout;
use crate::local::{functions, progress};

/// How long the bench takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// What docs/PERFORMANCE.md shows.
    Full,
    /// To see that it works. Its figures mean nothing.
    Short,
}

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// Webhooks beside pgbench
    Throughput,
    /// From exec to the first answer, memory and sizes
    Startup,
    /// A retry queue worked off
    Drain,
    /// What crosses the wire to the database
    Wire,
}

/// Builds optimised binaries of everything, this tool included, and runs the bench with them: what drives the load must not be
/// what limits it.
pub(crate) async fn run_optimised(layout: &Layout) -> Result<ExitCode> {
    functions::build_optimised(layout).await?;
    let own = std::env::current_exe().context("find this program")?;
    let target = own.parent().and_then(|profile| profile.parent()).ok_or_else(|| Error::new("no target folder"))?;
    let mut optimised = Command::new(target.join("release").join("ringfence"));
    let status = optimised.args(std::env::args_os().skip(1)).status().context("run the optimised bench")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures, prints the table and writes it down.
pub(crate) async fn run(layout: &Layout, length: Length, sections: &[Section]) -> Result<()> {
    if length == Length::Short {
        functions::build(layout).await?;
    }
    // Of an earlier run that was killed.
    site::stop(layout).await?;
    let outcome = measure(layout, length, sections).await;
    site::stop(layout).await.and(outcome)
}

/// Stops what a bench that was interrupted has started.
pub(crate) async fn stop(layout: &Layout) -> Result<()> {
    site::stop(layout).await
}

async fn measure(layout: &Layout, length: Length, sections: &[Section]) -> Result<()> {
    let is_asked = |section| sections.is_empty() || sections.contains(&section);
    let site = Site::start(layout).await?;
    let mut report = Report::default();
    if is_asked(Section::Startup) {
        progress("Measuring starts and sizes");
        size::measure(&site, &mut report)?;
        startup::measure(&site, length, &mut report).await?;
    }
    if is_asked(Section::Wire) {
        progress("Counting on the wire");
        wire::measure(&site, &mut report).await?;
    }
    if is_asked(Section::Throughput) {
        throughput::measure(&site, length, &mut report).await?;
    }
    if is_asked(Section::Drain) {
        progress("Draining a queue");
        drain::measure(&site, length, &mut report).await?;
    }
    report.write(&layout.path("bench.json"))?;
    println!("{report}");
    Ok(())
}
