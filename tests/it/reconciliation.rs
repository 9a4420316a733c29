//! D10: a call without a report is found and completed by asking Vapi, through the same path as every report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_harness::testing::fake_vapi::Reply;
use ringfence_harness::testing::webhook::masters;
use ringfence_harness::testing::{Call, TestDatabase};
use ringfence_protocol::maintenance::Job;
use ringfence_vapi::{Function, OrgId};
use serde_json::{Value, json};

use crate::recordings::Stage;

const KEY: &str = "a-private-key";

/// Stores an org's API key at Vapi.
pub(crate) async fn give_key(stage: &Stage, org: OrgId) {
    let sealed = masters().api_key_sealer().seal(org, KEY).unwrap();
    assert!(stage.database.admin().await.set_vapi_key(org, Some(&sealed)).await.unwrap());
}

/// A call whose first event was two hours ago, without an end.
pub(crate) async fn stuck(stage: &Stage, org: OrgId) -> Call {
    let call = Call::default();
    assert_eq!(stage.webhook().post(org, &call.status("in-progress", 0)).await.status, 200);
    age(stage, &call, "2 hours").await;
    call
}

/// Sets the time of the call's first event, which is part of its id.
pub(crate) async fn age(stage: &Stage, call: &Call, ago: &str) {
    let id = format!(
        "overlay(time_floor_uuid(now() - interval '{ago}')::text PLACING right(gen_random_uuid()::text, 12) FROM 25)::uuid"
    );
    stage
        .execute(&format!(
            "SET session_replication_role = replica;
            WITH new AS (UPDATE call_logs SET id = {id} WHERE vapi_call_id = '{call}' RETURNING id)
                UPDATE calls SET id = (SELECT id FROM new) WHERE vapi_call_id = '{call}';
            SET session_replication_role = origin",
            call = call.id
        ))
        .await;
}

/// Answer of the fake of Vapi's API for a call (the contract's `Call`, with the artifact that `GET /call/{id}` adds).
fn at_vapi(call: &Call, status: &str) -> Value {
    let mut shown = call.report(60_000, json!({}))["message"].clone();
    let ended = status == "ended";
    let known = shown.as_object_mut().unwrap();
    known.retain(|name, _| ended || name == "call" || name == "customer");
    let Some(Value::Object(of_call)) = known.remove("call") else { panic!("a call") };
    known.remove("type");
    known.remove("timestamp");
    known.extend(of_call);
    known.insert("status".to_owned(), json!(status));
    known.insert("updatedAt".to_owned(), json!("2026-09-14T15:03:11.480Z"));
    shown
}

fn put(stage: &Stage, call: &Call, shown: &Value) {
    stage.vapi.put(&format!("/call/{}", call.id), Reply::File(shown.to_string().into_bytes()));
}

/// Runs the function of reports on the waiting messages. Returns their number.
async fn deliver(stage: &Stage) -> usize {
    let app = stage.database.app();
    let batch = stage.queues.take(Function::EndOfCallReport).await;
    let count = batch.records.len();
    let consumer = stage.queues.consumer(Function::EndOfCallReport, Arc::clone(&app));
    let again = consumer.consume(batch, Instant::now() + Duration::from_mins(5)).await;
    assert!(again.batch_item_failures.is_empty());
    count
}

/// Makes the next attempt due now.
async fn later(stage: &Stage) {
    stage.execute("UPDATE reconciliations SET next_attempt_at = now() - interval '1 second'").await;
}

async fn states(stage: &Stage) -> String {
    stage.text("SELECT string_agg(concat_ws(' ', state, code), ', ' ORDER BY state, code) FROM reconciliations").await
}

const ROWS: &str = "SELECT (SELECT string_agg((to_jsonb(l) - '{id,org_id,vapi_call_id,created_at,updated_at,lead_id}'::text[])::text, ',') FROM call_logs l)
    || (SELECT string_agg((to_jsonb(c) - '{id,org_id,vapi_call_id,created_at,updated_at}'::text[])::text, ',') FROM calls c)";

/// The rows are those of the webhook. A report that arrives later changes nothing.
#[tokio::test]
async fn a_report_that_never_came_is_asked_for() {
    let stage = Stage::new().await;
    give_key(&stage, stage.org).await;
    let call = stuck(&stage, stage.org).await;
    let fresh = Call::default();
    assert_eq!(stage.webhook().post(stage.org, &fresh.status("in-progress", 0)).await.status, 200);
    put(&stage, &call, &at_vapi(&call, "ended"));

    let dry = stage.maintain(Job::Reconcile, true).await;
    assert_eq!((dry.found, dry.done), (1, 0));
    assert_eq!(stage.database.count("reconciliations").await, 0);
    let (one, two) = tokio::join!(stage.maintain(Job::Reconcile, false), stage.maintain(Job::Reconcile, false));
    assert_eq!((one.found + two.found, one.done + two.done), (1, 1), "asked once");
    let asked = stage.vapi.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].authorization.as_deref(), Some("Bearer a-private-key"));
    assert_eq!(deliver(&stage).await, 1);
    stage.execute(&format!("DELETE FROM call_tracking WHERE vapi_call_id = '{0}'; DELETE FROM calls WHERE vapi_call_id = '{0}'; DELETE FROM call_logs WHERE vapi_call_id = '{0}'", fresh.id)).await;
    let rows = stage.text(ROWS).await;

    // The same call in another database, where the webhook arrived.
    let elsewhere = TestDatabase::new().await;
    let org = elsewhere.org("Acme").await;
    let report = call.report(60_000, json!({}));
    elsewhere.apply(org, &[call.status("in-progress", 0), report.clone()]).await;
    assert_eq!(Some(rows.clone()), elsewhere.text(ROWS).await);
    assert!(rows.contains("completed") && rows.contains("A visit, please."), "{rows}");

    later(&stage).await;
    assert_eq!(stage.maintain(Job::Reconcile, false).await.done, 0);
    assert_eq!(states(&stage).await, "completed");
    assert_eq!(stage.webhook().post(stage.org, &report).await.status, 200);
    assert_eq!(stage.text(ROWS).await, rows);
}

/// A call that has not ended is asked for again. A call that Vapi does not have is marked with its reason and does not
/// block other orgs' calls.
#[tokio::test]
async fn vapis_answer_decides_the_state() {
    let stage = Stage::new().await;
    give_key(&stage, stage.org).await;
    let (going_on, gone, busy) =
        (stuck(&stage, stage.org).await, stuck(&stage, stage.org).await, stuck(&stage, stage.org).await);
    put(&stage, &going_on, &at_vapi(&going_on, "in-progress"));
    stage.vapi.put(&format!("/call/{}", busy.id), Reply::Status(429));
    assert_eq!(stage.maintain(Job::Reconcile, false).await.done, 0);
    assert_eq!(states(&stage).await, "open RF9004, open, unreachable RF9002");
    assert_eq!(deliver(&stage).await, 0);

    // Later, the first call has ended, and Vapi answers for the call for which it was busy.
    put(&stage, &going_on, &at_vapi(&going_on, "ended"));
    put(&stage, &busy, &at_vapi(&busy, "ended"));
    later(&stage).await;
    assert_eq!(stage.maintain(Job::Reconcile, false).await.done, 2);
    assert_eq!(deliver(&stage).await, 2);
    later(&stage).await;
    stage.maintain(Job::Reconcile, false).await;
    assert_eq!(states(&stage).await, "completed, completed, unreachable RF9002");
    assert_eq!(
        stage.text(&format!("SELECT status FROM call_logs WHERE vapi_call_id = '{}'", gone.id)).await,
        "in-progress"
    );
}

/// Without a key, Vapi is not asked until there is one. A refused key is tried once per run, and other orgs are
/// processed.
#[tokio::test]
async fn a_missing_or_refused_key_is_reported() {
    let stage = Stage::new().await;
    let other = stage.database.org("Other").await;
    let without = stuck(&stage, stage.org).await;
    give_key(&stage, other).await;
    let refused = [stuck(&stage, other).await, stuck(&stage, other).await];
    for call in &refused {
        stage.vapi.put(&format!("/call/{}", call.id), Reply::Status(401));
    }
    assert_eq!(stage.maintain(Job::Reconcile, false).await.found, 3);
    assert_eq!(states(&stage).await, "open RF9003, open RF9003, unreachable RF9001");
    assert_eq!(stage.vapi.asked().len(), 1, "once in a run");

    give_key(&stage, stage.org).await;
    put(&stage, &without, &at_vapi(&without, "ended"));
    assert_eq!(stage.maintain(Job::Reconcile, false).await.done, 1);
    assert_eq!(deliver(&stage).await, 1);
    let completed = stage.text("SELECT string_agg(vapi_call_id, ',') FROM call_logs WHERE status = 'completed'").await;
    assert_eq!(completed, without.id);
}

/// Vapi is not asked for calls of orgs with zero retention, and for other calls at most for fourteen days.
#[tokio::test]
async fn who_keeps_nothing_is_not_asked() {
    let stage = Stage::new().await;
    give_key(&stage, stage.org).await;
    let admin = stage.database.admin().await;
    assert!(admin.set_zero_retention(stage.org, true).await.unwrap());
    let call = stuck(&stage, stage.org).await;
    assert_eq!(stage.maintain(Job::Reconcile, false).await.found, 0);
    assert!(admin.set_zero_retention(stage.org, false).await.unwrap());
    assert_eq!(stage.maintain(Job::Reconcile, false).await.found, 1);
    stage
        .execute(
            "UPDATE reconciliations SET state = 'open', finished_at = NULL, created_at = now() - interval '15 days'",
        )
        .await;
    later(&stage).await;
    put(&stage, &call, &at_vapi(&call, "ended"));
    let asked = stage.vapi.asked().len();
    assert_eq!(stage.maintain(Job::Reconcile, false).await.done, 0);
    assert_eq!((states(&stage).await.as_str(), stage.vapi.asked().len()), ("unreachable RF9002", asked));
}

/// A call that was erased during its reconciliation is not restored: the tombstone drops its report.
#[tokio::test]
async fn an_erased_call_is_not_brought_back() {
    let stage = Stage::new().await;
    give_key(&stage, stage.org).await;
    let call = stuck(&stage, stage.org).await;
    put(&stage, &call, &at_vapi(&call, "ended"));
    assert_eq!(stage.maintain(Job::Reconcile, false).await.done, 1);
    stage.database.admin().await.erase_call(stage.org, &call.id, true).await.unwrap();
    assert_eq!(deliver(&stage).await, 1);
    for table in ["call_logs", "processed_webhook_events", "reconciliations"] {
        assert_eq!(stage.database.count(table).await, 0, "{table}");
    }
}

/// D10: a report that is too large for a queue message is parked in the bucket, and applies like any other.
#[tokio::test]
async fn a_report_too_large_for_a_message_is_parked() {
    let stage = Stage::new().await;
    give_key(&stage, stage.org).await;
    let call = stuck(&stage, stage.org).await;
    let mut shown = at_vapi(&call, "ended");
    // It does not compress.
    let transcript: String = std::iter::repeat_with(fastrand::alphanumeric).take(2_000_000).collect();
    shown["artifact"]["transcript"] = json!(transcript);
    put(&stage, &call, &shown);
    assert_eq!(stage.maintain(Job::Reconcile, false).await.done, 1);
    let parked = stage.queues.parked().await;
    assert!(parked.len() == 1 && parked[0].starts_with(&format!("{}/{}/", stage.org, call.id)), "{parked:?}");
    assert_eq!(deliver(&stage).await, 1);
    assert_eq!(stage.text("SELECT status || length(transcript) FROM call_logs").await, "completed2000000");
}
