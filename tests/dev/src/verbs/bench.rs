//! `cargo ringfence bench`: performance, compared with PostgreSQL's own benchmark.

use std::process::ExitCode;
use std::time::Duration;

use ringfence_bench::{self as bench, Length, Options};
use ringfence_harness::error::Result;
use ringfence_harness::interruption::Interruption;
use ringfence_harness::local::backing::lock;
use ringfence_harness::local::layout::Layout;

/// Measures webhooks against pgbench with the same SQL on the same server, against a plain Node handler and against bare
/// upserts, and the cost of a start and of a webhook.
///
/// All services are started for the benchmark; the local stack is not used. The tables are also written to
/// `target/ringfence/bench.json`. The machine should be idle otherwise.
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// Run for a minute or two with unoptimised binaries, as a functional check whose figures have no meaning
    #[arg(long)]
    short: bool,
    /// Sections to run; all by default
    #[arg(value_enum, value_name = "SECTION")]
    sections: Vec<bench::Section>,
    /// Numbers of environments for the throughput; 1, 4 and 16 by default
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=64))]
    clients: Vec<u64>,
    /// Number of rounds for the throughput; 5 by default
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Minutes of the churn; 60 by default
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=1_440))]
    churn_minutes: Option<u64>,
}

impl Bench {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let layout = Layout::find()?;
        let length = if self.short { Length::Short } else { Length::Full };
        if length == Length::Full && cfg!(debug_assertions) {
            return bench::run_optimised(&layout).await;
        }
        let Self { sections, clients, rounds, churn_minutes, .. } = self;
        let churn = churn_minutes.map(Duration::from_mins);
        let options = Options { length, sections, clients, rounds, churn };
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
