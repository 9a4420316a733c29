//! Size of each binary's zip, which is uploaded.

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::site;
use super::table::{Limit, Report, Table, number};
use ringfence_harness::error::{Context, Result};

const FUNCTIONS: [&str; 15] = [
    "webhook",
    "call-started",
    "call-ended",
    "transcript",
    "end-of-call-report",
    "assistant-request",
    "tool-calls",
    "broadcast-retry",
    "live",
    "recording-upload",
    "console",
    "maintenance",
    "health",
    "admin",
    "console-commands",
];
/// Size of the headers of an archive with one file named `bootstrap`.
const HEADERS: usize = 30 + 46 + 22 + 2 * "bootstrap".len();

/// Compresses each binary as a zip does.
pub(super) fn measure(report: &mut Report) -> Result<()> {
    let mut table = Table::new("Sizes", &["function", "binary MB", "zip MB"]);
    for name in FUNCTIONS {
        let path = site::binary(name)?;
        let binary = fs::read(&path).context(format_args!("read {}", path.display()))?;
        let zip = megabytes(zipped(&binary)?);
        table.row([name.to_owned(), number(megabytes(binary.len())), number(zip)]);
        let limit = if name == "webhook" { 4.0 } else { 6.0 };
        report.goal(format!("{name}: zip, MB"), zip, Limit::AtMost(limit));
    }
    report.add(table);
    Ok(())
}

fn zipped(binary: &[u8]) -> Result<usize> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(binary).context("compress a binary")?;
    Ok(encoder.finish().context("compress a binary")?.len() + HEADERS)
}

#[expect(clippy::cast_precision_loss, reason = "no binary has 2^52 bytes")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
