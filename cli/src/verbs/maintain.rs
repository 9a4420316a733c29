//! `ringfence maintain`: runs a maintenance job outside its schedule.

use std::process::ExitCode;

use ringfence_protocol::maintenance::{Job, JobRequest, Report};
use strum::VariantNames as _;

use crate::backend::Backend;
use crate::error::Result;

/// Runs a maintenance job now, and prints its result
#[derive(Debug, clap::Args)]
pub struct Maintain {
    /// Name of the job (docs/MONITORING.md)
    #[arg(value_parser = job)]
    job: Job,
    /// Only count the items of the job
    #[arg(long)]
    dry_run: bool,
}

fn job(text: &str) -> std::result::Result<Job, String> {
    text.parse().map_err(|_| format!("one of {}", Job::VARIANTS.join(", ")))
}

impl Maintain {
    pub async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let report = backend.run_job(JobRequest { job: self.job, dry_run: self.dry_run }).await?;
        let Report { found, done, more, .. } = report;
        println!("{}: found {found}, done {done}{}", self.job, if more { ", and there is more" } else { "" });
        Ok(ExitCode::SUCCESS)
    }
}
