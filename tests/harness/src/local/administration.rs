//! Administration of the local stack, in this process.

use std::time::Duration;

use admin::Administration;
use ringfence_cli::Backend;
use ringfence_cli::backend::describe;
use ringfence_protocol::admin::{Command, Reply};
use ringfence_protocol::maintenance::{JobRequest, Report};
use ringfence_runtime::Environment;

use super::environment::of_waiting_work;
use super::layout::Layout;
use super::pump::invocations_url;
use super::secrets::Secrets;
use super::stack::Stack;
use super::{buckets, http, queues};
use crate::error::{Context, Error, Result};

/// Longer than the timeout of the maintenance function, which is four minutes.
const JOB_TIMEOUT: Duration = Duration::from_secs(250);

/// The running local stack.
#[derive(Clone, Copy, Debug)]
pub struct LocalStack;

impl LocalStack {
    fn find() -> Result<(Layout, Stack)> {
        let layout = Layout::find()?;
        let stack = Stack::running(&layout)?.ok_or_else(|| {
            Error::new(
                "the local stack is not up: run `cargo ringfence up` first, or name a deployed stack with --stack",
            )
        })?;
        Ok((layout, stack))
    }
}

impl Backend for LocalStack {
    async fn command(&self, command: Command) -> Result<Reply> {
        // A retained event that cannot be applied is logged with its code. In a deployed stack, the function's log has
        // it.
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr);
        // Fails only if another command of this process has already set it up.
        let _ = log.try_init();
        let (layout, stack) = Self::find()?;
        let doing = describe(&command);
        let reply = administration(&layout, &stack)?.perform(command).await.context(doing)?;
        keep_key(&layout, stack, &reply)?;
        Ok(reply)
    }

    async fn run_job(&self, request: JobRequest) -> Result<Report> {
        let (_, stack) = Self::find()?;
        let url = invocations_url(&stack.base_url, "maintenance");
        let answer = http::client(JOB_TIMEOUT)?.post(url).json(&request).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status).context("run the job")?;
        answer.json().await.context("read the report of maintenance")
    }
}

/// Administration commands for a local stack.
pub fn administration(layout: &Layout, stack: &Stack) -> Result<Administration> {
    let secrets = Secrets::of(layout)?;
    let waiting = of_waiting_work(&stack.queues);
    let settings = Environment::from_fn(|name| match name {
        "DATABASE_OWNER_URL" => Some(stack.database_url.clone()),
        "DATABASE_CA_PEM" => std::env::var(name).ok(),
        "RINGFENCE_APP_PASSWORD" => Some(secrets.app_password.clone()),
        "RINGFENCE_MASTER_KEYS" => Some(secrets.master_keys_variable()),
        "PUBLIC_BASE_URL" => Some(stack.base_url.clone()),
        name => waiting.iter().find(|(variable, _)| variable == name).map(|(_, url)| url.clone()),
    });
    let (sqs, s3) = (queues::client(&stack.sqs_endpoint), buckets::client(&stack.sqs_endpoint));
    Administration::from_environment(&settings, &sqs, s3).context("administer the local stack")
}

/// Writes a new key of the stack's own org to `local.json`.
fn keep_key(layout: &Layout, mut stack: Stack, reply: &Reply) -> Result<()> {
    match reply {
        Reply::Organization(organization) if organization.id == stack.org.id => {
            stack.org.key.clone_from(&organization.key);
            stack.save(layout)
        }
        _ => Ok(()),
    }
}
