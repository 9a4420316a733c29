//! `ringfence gateway`: the background process between viewers and the function `live`.

use std::process::ExitCode;

use ringfence_harness::error::Result;
use ringfence_harness::interruption::Interruption;
use ringfence_harness::local::gateway;

/// Serves viewers until it is stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct Gateway {
    /// Port on which it listens
    #[arg(long)]
    port: u16,
    /// URL of the functions
    #[arg(long)]
    base_url: String,
}

impl Gateway {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        tracing_subscriber::fmt().with_ansi(false).init();
        let mut interruption = Interruption::new()?;
        let gateway = gateway::serve(self.port, &self.base_url).await?;
        tracing::info!(url = gateway.url(), "gateway started");
        interruption.wait().await;
        Ok(ExitCode::SUCCESS)
    }
}
