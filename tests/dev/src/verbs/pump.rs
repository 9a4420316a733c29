//! `ringfence pump`: the background process between the retry queues and the functions.

use std::process::ExitCode;

use ringfence_harness::error::Result;
use ringfence_harness::interruption::Interruption;
use ringfence_harness::local::pump;
use ringfence_harness::local::queues::{self, Timing};

/// Moves messages from the retry queues to their functions until it is stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct Pump {
    /// Endpoint of the local SQS
    #[arg(long)]
    sqs_endpoint: String,
    /// URL of the functions
    #[arg(long)]
    base_url: String,
}

impl Pump {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        tracing_subscriber::fmt().with_ansi(false).init();
        let mut interruption = Interruption::new()?;
        let sqs = queues::client(&self.sqs_endpoint);
        let queues = queues::create(&sqs, Timing::DEPLOYED).await?;
        tokio::select! {
            result = pump::run(&sqs, &queues, &self.base_url) => result?,
            // A batch in progress is not deleted: it is delivered again after its visibility timeout, as in AWS.
            () = interruption.wait() => (),
        }
        Ok(ExitCode::SUCCESS)
    }
}
