//! `cargo ringfence maintain`: a job of maintenance now, and not when its schedule comes.

use std::process::ExitCode;
use std::time::Duration;

use ringfence_protocol::maintenance::{Job, JobRequest, Report};
use strum::VariantNames as _;

use crate::administration::{Place, order};
use crate::error::{Context, Error, Result};
use crate::local::layout::Layout;
use crate::local::pump::invocations_url;
use crate::local::stack::Stack;

/// The function has four minutes.
const PATIENCE: Duration = Duration::from_secs(250);

/// Runs a job of maintenance now, and says what it did
#[derive(Debug, clap::Args)]
pub(crate) struct Maintain {
    /// Which; docs/MONITORING.md says what each does
    #[arg(value_parser = job)]
    job: Job,
    /// Only count what there is to do
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
}

fn job(text: &str) -> std::result::Result<Job, String> {
    text.parse().map_err(|_| format!("one of {}", Job::VARIANTS.join(", ")))
}

impl Maintain {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let asked = JobRequest { job: self.job, dry_run: self.dry_run };
        let report: Report = match &self.place.stack {
            Some(stack) => order(&format!("{stack}-maintenance"), &asked, "maintain").await?,
            None => here(&asked).await?,
        };
        let Report { found, done, more, .. } = report;
        println!("{}: found {found}, done {done}{}", self.job, if more { ", and there is more" } else { "" });
        Ok(ExitCode::SUCCESS)
    }
}

/// On the local stack.
pub(crate) async fn here(order: &JobRequest) -> Result<Report> {
    let stack = Stack::running(&Layout::find()?)?;
    let stack = stack.ok_or_else(|| Error::new("the local stack is not up: `cargo ringfence up` starts it"))?;
    let url = invocations_url(&stack.base_url, "maintenance");
    let answer = crate::local::http::client(PATIENCE)?.post(url).json(order).send().await;
    let answer = answer.and_then(reqwest::Response::error_for_status).context("order maintenance")?;
    answer.json().await.context("read the report of maintenance")
}
