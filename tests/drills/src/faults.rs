//! Faults of the drills, their begin and their duration.

use std::time::{Duration, Instant};

use super::site::Site;
use super::traffic::{Load, Tenant};
use super::verdict::Verdict;
use super::{Drill, Length, recordings, tools};
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::local::connection;
use ringfence_harness::testing::proxy::Mode;
use ringfence_harness::wait::wait_until;
use ringfence_simulate::plan::Run;
use ringfence_simulate::sender::Pace;
use ringfence_simulate::{Manner, send};

/// Time in which calls arrive before the fault begins, and after it ends.
const MARGIN: Duration = Duration::from_secs(2);
const KILL_EVERY: Duration = Duration::from_millis(400);
/// Limit within which a webhook must be committed.
const COMMIT_LIMIT: Duration = Duration::from_mins(1);
/// Approximate number of webhooks of a simulated call.
const WEBHOOKS_PER_CALL: u32 = 10;

/// Load of a drill and duration of its fault.
pub(super) fn plan(drill: Drill, length: Length) -> (Load, Duration) {
    let is_full = length == Length::Full;
    let seconds = |full, short| Duration::from_secs(if is_full { full } else { short });
    let at_once = |calls, duplicates, concurrency| Load { calls, rate: None, shuffle: true, duplicates, concurrency };
    match drill {
        Drill::Duplicates => (at_once(4, if is_full { 999 } else { 99 }, 50), Duration::ZERO),
        Drill::Shuffle => (at_once(if is_full { 400 } else { 80 }, 1, 32), Duration::ZERO),
        Drill::Recordings => (at_once(20, 1, 32), Duration::ZERO),
        Drill::Kill | Drill::Cut => paced(seconds(30, 6), is_full),
        Drill::Hang => paced(seconds(30, 10), is_full),
        Drill::LongOutage => paced(seconds(60, 20), false),
        Drill::Outage | Drill::ColdOutage => paced(seconds(60, 8), is_full),
        // A sender that repeats its webhooks gives up after about fifteen seconds.
        Drill::SqsDown | Drill::BothDown | Drill::Poison => paced(seconds(6, 4), is_full),
    }
}

/// Calls that arrive before, during and after a fault: a hundred webhooks a second, or fewer.
fn paced(broken: Duration, is_full: bool) -> (Load, Duration) {
    let per_second = if is_full { 100 } else { 40 } / WEBHOOKS_PER_CALL;
    let seconds = (broken + 2 * MARGIN).as_secs();
    let calls = usize::try_from(seconds * u64::from(per_second)).unwrap_or(usize::MAX);
    (Load { calls, rate: Some(per_second.into()), shuffle: true, duplicates: 0, concurrency: 64 }, broken)
}

/// Runs the part of a drill that precedes its calls.
pub(super) async fn prepare(site: &Site<'_>, drill: Drill, tenants: &[Tenant]) -> Result<()> {
    match (drill, tenants) {
        (Drill::Kill, [tenant, ..]) => {
            kill_between_commit_and_answer(site, tenant).await?;
            tools::kill_between_claim_and_result(site, tenant).await
        }
        (Drill::Recordings, [tenant, ..]) => recordings::kill_during_upload(site, tenant).await,
        _ => Ok(()),
    }
}

/// Injects the fault for its duration while calls arrive. Returns the time at which the fault ended.
pub(super) async fn inject(site: &Site<'_>, drill: Drill, broken: Duration) -> Result<Instant> {
    if broken.is_zero() {
        return Ok(Instant::now());
    }
    tokio::time::sleep(MARGIN).await;
    match drill {
        Drill::Kill => kill_for(site, broken).await?,
        Drill::Cut => on_the_way_to_database(site, Mode::Cut, broken).await,
        Drill::Hang => on_the_way_to_database(site, Mode::Silent, broken).await,
        Drill::SqsDown => {
            site.to_sqs.set(Mode::Refuse);
            site.to_sqs.cut();
            tokio::time::sleep(broken).await;
            site.to_sqs.set(Mode::Open);
        }
        Drill::BothDown => {
            site.to_sqs.set(Mode::Refuse);
            site.to_sqs.cut();
            stop_database_for(site, broken).await?;
            site.to_sqs.set(Mode::Open);
        }
        Drill::ColdOutage => {
            let killed = async {
                tokio::time::sleep(broken / 4).await;
                site.kill_functions().await;
            };
            tokio::join!(stop_database_for(site, broken), killed).0?;
        }
        Drill::Outage | Drill::LongOutage => stop_database_for(site, broken).await?,
        Drill::Duplicates | Drill::Shuffle | Drill::Recordings | Drill::Poison => {}
    }
    Ok(Instant::now())
}

/// Checks that the fault had an effect. A drill whose fault had none is an error.
pub(super) async fn examine(site: &Site<'_>, drill: Drill, verdict: &Verdict) -> Result<()> {
    let client = connection::open(&site.owner_url).await?;
    let failed = "SELECT count(*), coalesce(max(receives), 0) FROM failed_operations WHERE state = 'resolved'";
    let row = client.query_one(failed, &[]).await.context("count the failed operations")?;
    let (failed, receives): (i64, i32) = (row.get(0), row.get(1));
    let met = match drill {
        Drill::Hang | Drill::Outage | Drill::ColdOutage | Drill::Cut => failed > 0,
        // Nothing uses the queues while the database is available.
        Drill::SqsDown => failed == 0 && verdict.refused == 0,
        // The first ten backoffs passed, and no event became a dead letter.
        Drill::LongOutage => receives > 10 && verdict.dead == 0,
        Drill::BothDown => verdict.refused > 0,
        Drill::Duplicates | Drill::Shuffle | Drill::Recordings => verdict.duplicates > 0,
        Drill::Kill => failed > 0 || verdict.repeated > 0,
        // This drill makes its own checks.
        Drill::Poison => true,
    };
    if met {
        return Ok(());
    }
    let text =
        format!("the fault had no effect: {failed} events failed and recovered, received up to {receives} times");
    Err(Error::new(text))
}

async fn on_the_way_to_database(site: &Site<'_>, mode: Mode, broken: Duration) {
    site.to_database.set(mode);
    tokio::time::sleep(broken).await;
    site.to_database.set(Mode::Open);
}

async fn stop_database_for(site: &Site<'_>, broken: Duration) -> Result<()> {
    site.stop_database().await?;
    tokio::time::sleep(broken).await;
    site.start_database().await
}

/// Kills the webhook function, the function of a queue and every session of the functions, repeatedly.
async fn kill_for(site: &Site<'_>, broken: Duration) -> Result<()> {
    const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ringfence_app'";
    let client = connection::open(&site.owner_url).await?;
    let began = Instant::now();
    while began.elapsed() < broken {
        site.host.kill("webhook").await;
        tokio::time::sleep(KILL_EVERY).await;
        client.query(TERMINATE, &[]).await.context("terminate the functions' sessions")?;
        tokio::time::sleep(KILL_EVERY).await;
        site.host.kill("transcript").await;
    }
    Ok(())
}

/// Holds the answer to a committed webhook back and kills the function. The sender receives an error and sends the
/// webhook again, and the second delivery is a duplicate.
async fn kill_between_commit_and_answer(site: &Site<'_>, tenant: &Tenant) -> Result<()> {
    let calls = Run::new(jiff::Timestamp::now(), true).calls(1);
    let pace = Pace { rate: None, concurrency: 1 };
    let manner = Manner { duplicates: 0, shuffle: false, pace, attempts: Manner::PERSISTENT };
    let id = calls[0].id.clone();
    site.to_database.set(Mode::Mute);
    let killed = async {
        let client = connection::open(&site.owner_url).await?;
        let claims = "SELECT count(*) FROM processed_webhook_events WHERE vapi_call_id = $1";
        let is_claimed = async || {
            let count: i64 = client.query_one(claims, &[&id]).await.context("look for the claim")?.get(0);
            Ok(count > 0)
        };
        if !wait_until(COMMIT_LIMIT, is_claimed).await? {
            return Err(Error::new("a webhook whose answer is held back was not committed"));
        }
        site.host.kill("webhook").await;
        site.to_database.set(Mode::Open);
        Ok::<_, Error>(())
    };
    let (tally, killed) = tokio::join!(send(&tenant.target, &calls, manner), killed);
    killed?;
    let tally = tally?;
    let judgement = tenant.ledger.judge(tenant.target.org, &calls, &tally.taken).await?;
    if tally.is_whole() && tally.repeated > 0 && judgement.lost.is_empty() && judgement.comparison.is_right() {
        return Ok(());
    }
    Err(Error::new(format!("a function was killed after its commit: {tally:?}, {judgement:?}")))
}
