//! Events that cannot be applied, among others that can. They become dead letters without an effect on other events,
//! and are applied by a redrive after the cause is fixed.

use std::time::{Duration, Instant};

use ringfence_protocol::admin::{Command, OperationState, Reply, Selection};
use ringfence_vapi::Function;
use strum::{EnumCount as _, IntoEnumIterator as _};
use uuid::Uuid;

use super::site::Site;
use super::traffic::{Load, send_all, tenants};
use super::verdict::Verdict;
use ringfence_cli::backend::unexpected;
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::local::connection;
use ringfence_harness::local::queues::{retry_queue, send};
use ringfence_harness::wait::wait_until;

const LOAD: Load = Load { calls: 24, rate: None, shuffle: true, duplicates: 0, concurrency: 16 };
const TIMEOUT: Duration = Duration::from_mins(1);
/// A queue message that is not an event.
const NO_EVENT: &str = "no event";

pub(super) async fn run(site: &Site<'_>) -> Result<Verdict> {
    let tenants = tenants(site, LOAD).await?;
    let poisoned = tenants.iter().filter_map(|tenant| Some(tenant.calls.first()?.id.as_str())).collect::<Vec<_>>();
    let client = connection::open(&site.owner_url).await?;
    // A constraint that every event of these calls violates, since every event of a call writes to this table.
    let names = poisoned.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
    let rule = format!("ALTER TABLE call_logs ADD CONSTRAINT drill_poison CHECK (vapi_call_id NOT IN ({names}))");
    client.batch_execute(&rule).await.context("poison some calls")?;
    for function in Function::iter() {
        send(&site.sqs, &site.queues[&retry_queue(function)], NO_EVENT).await?;
    }

    let began = Instant::now();
    let tallies = send_all(&tenants, LOAD).await?;
    let events: usize = tenants.iter().filter_map(|tenant| Some(tenant.calls.first()?.steps().len())).sum();
    wait_for_dead_letters(site, events + Function::COUNT).await?;
    let count = "SELECT count(*) FROM failed_operations WHERE state = 'dead' AND code = 'RF2001' AND event IS NOT NULL";
    let dead: i64 = client.query_one(count, &[]).await.context("count the failed operations")?.get(0);
    if usize::try_from(dead).ok() != Some(events) {
        return Err(Error::new(format!("{events} events cannot be applied, and {dead} have a failed operation")));
    }

    client.batch_execute("ALTER TABLE call_logs DROP CONSTRAINT drill_poison").await.context("fix the cause")?;
    let fixed = Instant::now();
    redrive(site, events).await?;
    Verdict::reach(site, &tenants, &tallies, (began, fixed)).await
}

async fn wait_for_dead_letters(site: &Site<'_>, expected: usize) -> Result<()> {
    let mut dead = 0;
    let are_dead = async || {
        dead = site.depths().await?.1;
        Ok(usize::try_from(dead).ok() == Some(expected))
    };
    if wait_until(TIMEOUT, are_dead).await? {
        return Ok(());
    }
    Err(Error::new(format!("{expected} messages cannot be applied, and {dead} became dead letters")))
}

async fn redrive(site: &Site<'_>, events: usize) -> Result<()> {
    let (actor, selection) = ("drill".to_owned(), Selection::default());
    let act = Command::StartRedrive { actor, id: Uuid::new_v4(), selection, per_second: 1_000, before: None };
    let answer = site.administration.perform(act).await.context("redrive")?;
    let Reply::Operation(operation) = answer else { return Err(unexpected(&answer)) };
    let expected = (OperationState::Done, events as u64, Function::COUNT as u64);
    if (operation.state, operation.done, operation.failed) == expected {
        return Ok(());
    }
    Err(Error::new(format!("{events} events should be redriven, but the operation is: {operation:?}")))
}
