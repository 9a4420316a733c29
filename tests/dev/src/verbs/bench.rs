//! `cargo ringfence bench`: performance, measured against PostgreSQL's own benchmark.

use std::process::ExitCode;

use ringfence_bench::{self as bench, Length, Options};
use ringfence_harness::error::Result;
use ringfence_harness::interruption::Interruption;
use ringfence_harness::local::backing::lock;
use ringfence_harness::local::layout::Layout;

/// Measures webhooks against pgbench with the same SQL on the same server, and all that a start and a webhook cost.
///
/// Everything runs on services of its own; the local stack is not touched. The table is also written to
/// `target/ringfence/bench.json`. The machine should do nothing else meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// A minute or two with unoptimised binaries: shows that the bench works, and says nothing about speed
    #[arg(long)]
    short: bool,
    /// Only these
    #[arg(value_enum, value_name = "SECTION")]
    sections: Vec<bench::Section>,
    /// How many environments the throughput is measured with; 1, 4 and 16 unless told
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=64))]
    clients: Vec<u64>,
    /// How many rounds the throughput is measured in; 5 unless told
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
}

impl Bench {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let layout = Layout::find()?;
        let length = if self.short { Length::Short } else { Length::Full };
        if length == Length::Full && cfg!(debug_assertions) {
            return bench::run_optimised(&layout).await;
        }
        let Self { sections, clients, rounds, .. } = self;
        let options = Options { length, sections, clients, rounds };
        let _lock = lock(&layout, "bench.lock")?;
        let mut interruption = Interruption::new()?;
        tokio::select! {
            measured = bench::run(&layout, &options) => measured?,
            () = interruption.wait() => {
                bench::stop(&layout).await?;
                return Ok(ExitCode::FAILURE);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
