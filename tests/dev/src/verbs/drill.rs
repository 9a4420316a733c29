//! `cargo ringfence drill`: fault injection.

use std::process::ExitCode;

use clap::ValueEnum;

use ringfence_drills::{self as drill, Drill as Name, Length};
use ringfence_harness::error::Result;
use ringfence_harness::interruption::Interruption;
use ringfence_harness::local::backing::lock;
use ringfence_harness::local::layout::Layout;

/// Injects faults while calls arrive, and then compares every row: no acknowledged event is lost, and none is applied
/// twice.
///
/// All services are started for the drills; the local stack is not used. Without a name, all drills run.
#[derive(Debug, clap::Args)]
pub(crate) struct Drill {
    /// Drills to run; all by default
    #[arg(value_enum, value_name = "NAME")]
    names: Vec<Name>,
    /// Run each drill for a few seconds, with fewer webhooks
    #[arg(long)]
    short: bool,
}

impl Drill {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let layout = Layout::find()?;
        let _lock = lock(&layout, "drill.lock")?;
        let names = if self.names.is_empty() { Name::value_variants().to_vec() } else { self.names };
        let length = if self.short { Length::Short } else { Length::Full };
        let mut interruption = Interruption::new()?;
        let kept = tokio::select! {
            kept = drill::run(&layout, &names, length) => kept?,
            () = interruption.wait() => {
                drill::stop(&layout).await?;
                false
            }
        };
        Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
