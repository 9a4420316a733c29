//! `cargo ringfence check-template`: lints of the template.

use std::process::ExitCode;

use crate::deployed;
use ringfence_harness::error::Result;
use ringfence_harness::local::layout::Layout;

/// Runs `sam validate --lint` and cfn-lint over template.yaml.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckTemplate;

impl CheckTemplate {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        deployed::check_template(&Layout::find()?).await?;
        println!("template.yaml is valid.");
        Ok(ExitCode::SUCCESS)
    }
}
