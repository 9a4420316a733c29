//! Acts on the local stack.

use admin::Administration;
use ringfence_protocol::admin::{Command, Reply};
use ringfence_runtime::Environment;

use super::describe;
use crate::error::{Context, Error, Result};
use crate::local::environment::of_waiting_work;
use crate::local::layout::Layout;
use crate::local::secrets::Secrets;
use crate::local::stack::Stack;
use crate::local::{buckets, queues};

/// Performs an act in this process, on the stack that is up.
pub(super) async fn perform(act: Command) -> Result<Reply> {
    // A kept event that cannot be applied is logged with its code; deployed, that log is the function's.
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr);
    // Fails only where another act of this process has set it up.
    let _ = log.try_init();
    let layout = Layout::find()?;
    let stack = Stack::running(&layout)?.ok_or_else(|| {
        Error::new("the local stack is not up: run `cargo ringfence up` first, or name a deployed stack with --stack")
    })?;
    let doing = describe(&act);
    let answer = administration(&layout, &stack)?.perform(act).await.context(doing)?;
    keep_key(&layout, stack, &answer)?;
    Ok(answer)
}

/// What administers a local stack.
pub(crate) fn administration(layout: &Layout, stack: &Stack) -> Result<Administration> {
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

/// A new key of the stack's own org: from now on `local.json` gives it.
fn keep_key(layout: &Layout, mut stack: Stack, answer: &Reply) -> Result<()> {
    match answer {
        Reply::Organization(organization) if organization.id == stack.org.id => {
            stack.org.key.clone_from(&organization.key);
            stack.save(layout)
        }
        _ => Ok(()),
    }
}
