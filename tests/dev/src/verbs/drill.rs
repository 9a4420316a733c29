//! `cargo ringfence drill`: faults on purpose.

use std::process::ExitCode;

use clap::ValueEnum;

use ringfence_drills::{self as drill, Drill as Name, Length};
use ringfence_harness::error::Result;
use ringfence_harness::interruption::Interruption;
use ringfence_harness::local::backing::lock;
use ringfence_harness::local::layout::Layout;

/// Breaks things while calls come in, and compares every row afterwards: nothing acknowledged is lost, nothing applied twice.
///
/// Everything runs on services of its own; the local stack is not touched. Without a name, all drills run.
#[derive(Debug, clap::Args)]
pub(crate) struct Drill {
    /// Which ones
    #[arg(value_enum, value_name = "NAME")]
    names: Vec<Name>,
    /// A few seconds each, with fewer webhooks
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
