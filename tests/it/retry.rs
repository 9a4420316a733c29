//! The retry path: events that the webhook function cannot apply wait in their function's queue, and are applied later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use ringfence_core::error::Failure;
use ringfence_core::{Database, Outcome, Timeouts, apply_event};
use ringfence_harness::testing::{Call, Proxy, TestDatabase, TestQueues, TestWebhook};
use ringfence_protocol::Delivery;
use ringfence_runtime::pipeline::EventStore;
use ringfence_vapi::{FailureCode, Function, OrgId};
use serde_json::{Value, json};
use strum::IntoEnumIterator as _;

/// An address on which no server listens.
const UNAVAILABLE: Option<&str> = Some("127.0.0.1:1");

/// A fresh database with one org, and queues.
async fn set_up() -> (TestDatabase, TestQueues, OrgId) {
    let database = TestDatabase::new().await;
    let org = database.org("Acme").await;
    (database, TestQueues::new().await, org)
}

/// Posts to the org's URL, which must acknowledge the event.
async fn post(webhook: &TestWebhook, org: OrgId, body: &Value) {
    let reply = webhook.post(org, body).await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, "{}"), "{body}");
}

/// A store that fails or panics for one call.
struct Faulty<F> {
    database: Arc<Database>,
    fault: F,
}

impl<F: Fn(&Delivery) -> Result<(), Failure>> EventStore for Faulty<F> {
    fn database(&self) -> &Database {
        &self.database
    }

    async fn apply(&self, delivery: &Delivery) -> Result<Outcome, Failure> {
        (self.fault)(delivery)?;
        apply_event(&self.database, delivery).await
    }
}

/// Runs a function on a batch of its queue.
async fn consume(
    queues: &TestQueues,
    function: Function,
    database: &Arc<Database>,
    batch: SqsEvent,
) -> SqsBatchResponse {
    queues.consumer(function, Arc::clone(database)).consume(batch, in_time()).await
}

/// A deadline that is never reached.
fn in_time() -> Instant {
    Instant::now() + Duration::from_mins(5)
}

/// Runs a function on all of its waiting messages, which must succeed.
async fn drain(queues: &TestQueues, function: Function, database: &Arc<Database>) -> usize {
    let batch = queues.take(function).await;
    let count = batch.records.len();
    assert_eq!(consume(queues, function, database, batch).await.batch_item_failures.len(), 0, "{function}");
    count
}

/// Rows of an org, without the records of failures.
fn but_failures(mut everything: BTreeMap<String, String>) -> BTreeMap<String, Vec<Value>> {
    everything.retain(|table, _| !table.starts_with("failed_"));
    let rows = |rows: String| -> Vec<Value> {
        let mut rows: Vec<Value> = serde_json::from_str(&rows).unwrap();
        rows.retain(|row| row["event_type"] != "operation-failed");
        rows
    };
    everything.into_iter().map(|(table, text)| (table, rows(text))).collect()
}

/// Failed messages of a batch.
fn again(response: &SqsBatchResponse) -> Vec<&str> {
    response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect()
}

/// D1, B2: while the database is unavailable, every stored event is answered with 200 and waits for its function. When
/// the database is available again, the rows are those of a call without an outage.
#[tokio::test]
async fn an_outage_delays_events_and_loses_none() {
    let (database, queues, org) = set_up().await;
    let on_time = database.org("On time").await;
    let proxy = Proxy::start().await;
    let webhook = TestWebhook::new(database.app_at(Some(&proxy.address)), &queues);
    let call = Call::default();
    let bodies = [
        (Function::CallStarted, call.status("in-progress", 4_000)),
        (Function::CallStarted, call.message("hang", 6_000, json!({}))),
        (Function::Transcript, call.transcript("A visit, please.", 9_000)),
        (Function::CallEnded, call.status("ended", 21_300)),
        (Function::EndOfCallReport, call.report(60_000, json!({}))),
    ];
    for (_, body) in &bodies {
        post(&webhook, on_time, body).await;
    }
    proxy.refuse(true);
    proxy.cut();
    for (_, body) in &bodies {
        post(&webhook, org, body).await;
    }
    assert_eq!(database.rows_of(org).await, "[]");

    let back = database.app();
    for function in Function::iter() {
        let batch = queues.take(function).await;
        let expected = bodies.iter().filter(|(of, _)| *of == function).count();
        assert_eq!(TestQueues::failure_codes(&batch), vec!["RF1001"; expected], "{function}");
        assert_eq!(again(&consume(&queues, function, &back, batch).await), [""; 0], "{function}");
        assert!(queues.dead_letters(function).await.is_empty(), "{function}");
    }
    assert_eq!(database.rows_of(org).await, database.rows_of(on_time).await);
    assert_eq!(database.count(&format!("processed_webhook_events WHERE org_id = '{org}'")).await, 5);
}

/// D1, C3: a start while the database is unavailable works: the first webhook of the environment is acknowledged, at
/// both URLs.
#[tokio::test]
async fn a_cold_start_without_a_database_takes_events() {
    let (database, queues, org) = set_up().await;
    let unavailable = database.app_at(UNAVAILABLE);
    unavailable.start_connecting();
    let webhook = TestWebhook::new(unavailable, &queues);
    let call = Call::default();
    database.agent(org, call.assistant.as_deref().unwrap()).await;
    post(&webhook, org, &call.status("in-progress", 0)).await;
    assert_eq!(webhook.post_platform(&call.status("ended", 1)).await.status, 200);
    assert_eq!(database.count("call_logs").await, 0);
    assert_eq!(drain(&queues, Function::CallStarted, &database.app()).await, 1);
    assert_eq!(drain(&queues, Function::CallEnded, &database.app()).await, 1);
    assert_eq!(database.count(&format!("call_logs WHERE org_id = '{org}' AND status = 'completed'")).await, 1);
    assert_eq!(database.count("call_routes").await, 1);
}

/// D1: if the database and the queue are unavailable, the answer is 503, so that Vapi knows that the event was not
/// accepted, and nothing is partly applied.
#[tokio::test]
async fn with_database_and_queue_unavailable_the_answer_is_503() {
    let database = TestDatabase::new().await;
    let (queues, org) = (TestQueues::unavailable().await, database.org("Acme").await);
    let reply =
        TestWebhook::new(database.app_at(UNAVAILABLE), &queues).post(org, &Call::default().status("ended", 0)).await;
    assert_eq!(reply.status, 503);
    insta::assert_snapshot!(format!("{:#}", reply.body));
    assert_eq!(database.rows_of(org).await, "[]");

    // While the database is available, an unavailable queue has no effect.
    post(&TestWebhook::new(database.app(), &queues), org, &Call::default().status("ended", 0)).await;
    assert_eq!(database.count("call_logs").await, 1);
}

/// B2: a poisoned and a panicking record do not affect the other record, and become dead letters with their codes.
#[tokio::test]
async fn a_bad_record_does_not_fail_its_neighbours() {
    let (database, queues, org) = set_up().await;
    let webhook = TestWebhook::new(database.app_at(UNAVAILABLE), &queues);
    let (panicking, good) = (Call::default(), Call::default());
    post(&webhook, org, &panicking.status("ended", 0)).await;
    queues.put(Function::CallEnded, "poison").await;
    post(&webhook, org, &good.status("ended", 0)).await;

    let batch = queues.take(Function::CallEnded).await;
    assert_eq!(batch.records.len(), 3);
    let back = database.app();
    let fault = |delivery: &Delivery| {
        assert_ne!(delivery.event.call().id.as_str(), panicking.id, "this panic is part of the test");
        Ok(())
    };
    let store = Faulty { database: Arc::clone(&back), fault };
    let response = queues.consumer_of(Function::CallEnded, store, back).consume(batch, in_time()).await;
    assert_eq!(again(&response), [""; 0]);
    let mut dead = queues.dead_letters(Function::CallEnded).await;
    dead.sort();
    assert_eq!(dead, ["RF2003", "RF2005"]);
    assert_eq!(database.text("SELECT vapi_call_id FROM call_logs").await, Some(good.id));
}

/// B2: the records for which a batch has no time are not tried, and are visible again at once. If the function were
/// stopped in the middle, the whole batch would be delivered again.
#[tokio::test]
async fn a_batch_out_of_time_leaves_the_rest_for_the_next() {
    let (database, queues, org) = set_up().await;
    let webhook = TestWebhook::new(database.app_at(UNAVAILABLE), &queues);
    for _ in 0..3 {
        post(&webhook, org, &Call::default().status("ended", 0)).await;
    }
    let (app, batch) = (database.app(), queues.take(Function::CallEnded).await);
    let ids: Vec<_> = batch.records.iter().filter_map(|record| record.message_id.clone()).collect();
    let consumer = queues.consumer(Function::CallEnded, Arc::clone(&app));
    let response = consumer.consume(batch.clone(), Instant::now()).await;
    assert_eq!(again(&response), ids[1..]);
    assert_eq!(database.count("call_logs").await, 1);
    assert_eq!(database.count("failed_attempts WHERE function <> 'webhook'").await, 0);
    assert_eq!(queues.take(Function::CallEnded).await.records.len(), 2, "both are visible again");
}

/// B2: a message that failed transiently is delivered again after its backoff, long before the queue's visibility
/// timeout ends.
#[tokio::test]
async fn a_failed_message_is_redelivered_after_its_backoff() {
    let (database, queues, org) = set_up().await;
    let unavailable = database.app_at(UNAVAILABLE);
    post(&TestWebhook::new(Arc::clone(&unavailable), &queues), org, &Call::default().status("ended", 0)).await;
    let batch = queues.take(Function::CallEnded).await;
    consume(&queues, Function::CallEnded, &unavailable, batch).await;
    let again = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let batch = queues.take(Function::CallEnded).await;
            if !batch.records.is_empty() {
                return batch;
            }
        }
    });
    let again = again.await.expect("the queue hides a message for three minutes, the back-off for two seconds");
    assert_eq!(again.records[0].attributes["ApproximateReceiveCount"], "2");
    consume(&queues, Function::CallEnded, &database.app(), again).await;
    assert_eq!(database.count("failed_operations WHERE state = 'resolved' AND receives = 2").await, 1);
}

/// B2: an event on the queue of another function is applied, too.
#[tokio::test]
async fn an_event_on_the_queue_of_another_function_applies() {
    let (database, queues, org) = set_up().await;
    let webhook = TestWebhook::new(database.app_at(UNAVAILABLE), &queues);
    post(&webhook, org, &Call::default().status("ended", 0)).await;
    let misdirected = queues.take(Function::CallEnded).await.records.remove(0);
    queues.put(Function::Transcript, misdirected.body.as_deref().unwrap()).await;
    assert_eq!(drain(&queues, Function::Transcript, &database.app()).await, 1);
    assert_eq!(queues.dead_letters(Function::Transcript).await, [""; 0]);
    assert_eq!(database.count("call_logs WHERE status = 'completed'").await, 1);
}

/// D1, B2: a transient failure leaves the record on its queue, and the response names it. It applies when the cause has
/// ended.
#[tokio::test]
async fn a_transient_failure_is_retried() {
    let (database, queues, org) = set_up().await;
    let deadlock = "CREATE FUNCTION deadlock() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'deadlock_detected'; END $$;
        CREATE TRIGGER deadlock BEFORE INSERT OR UPDATE ON calls FOR EACH ROW EXECUTE FUNCTION deadlock()";
    database.superuser().await.batch_execute(deadlock).await.unwrap();
    let app = database.app();
    post(&TestWebhook::new(Arc::clone(&app), &queues), org, &Call::default().report(60_000, json!({}))).await;

    let batch = queues.take(Function::EndOfCallReport).await;
    assert_eq!(TestQueues::failure_codes(&batch), ["RF1003"]);
    let id = batch.records[0].message_id.clone().unwrap();
    let response = consume(&queues, Function::EndOfCallReport, &app, batch.clone()).await;
    assert_eq!(again(&response), [id]);
    assert!(queues.dead_letters(Function::EndOfCallReport).await.is_empty());
    assert_eq!(database.rows_of(org).await, "[]", "the claim went with its effects");

    database.superuser().await.batch_execute("DROP TRIGGER deadlock ON calls").await.unwrap();
    assert_eq!(again(&consume(&queues, Function::EndOfCallReport, &app, batch).await), [""; 0]);
    assert_eq!(database.count("call_logs WHERE status = 'completed' AND cost = 0.037").await, 1);
}

/// B2: while the database is unavailable, the rest of a batch does not wait for it, and fails together with the first
/// record.
#[tokio::test]
async fn a_batch_meets_an_absent_database_once() {
    let (database, queues, org) = set_up().await;
    let proxy = Proxy::start().await;
    proxy.refuse(true);
    let unavailable = database.app_at(Some(&proxy.address));
    let webhook = TestWebhook::new(database.app_at(UNAVAILABLE), &queues);
    for _ in 0..3 {
        post(&webhook, org, &Call::default().status("ended", 0)).await;
    }
    let batch = queues.take(Function::CallEnded).await;
    let ids: Vec<_> = batch.records.iter().map(|record| record.message_id.clone().unwrap()).collect();
    assert_eq!(ids.len(), 3);
    let response = consume(&queues, Function::CallEnded, &unavailable, batch).await;
    assert_eq!(again(&response), ids);
    assert_eq!(proxy.connections(), 1);
}

/// B2: a statement that the server cancels because of its timeout does not affect the other records. Only a server that
/// does not answer at all does.
#[tokio::test]
async fn one_slow_event_does_not_hold_up_its_neighbours() {
    let (database, queues, org) = set_up().await;
    let webhook = TestWebhook::new(database.app_at(UNAVAILABLE), &queues);
    let (slow, good) = (Call::default(), Call::default());
    for call in [&slow, &good] {
        post(&webhook, org, &call.status("ended", 0)).await;
    }
    let back = database.app();
    let ended = Failure { code: FailureCode::DatabaseTimeout, sqlstate: Some("57014".to_owned()), constraint: None };
    let batch = queues.take(Function::CallEnded).await;
    let fault = |delivery: &Delivery| {
        if delivery.event.call().id.as_str() == slow.id { Err(ended.clone()) } else { Ok(()) }
    };
    let store = Faulty { database: Arc::clone(&back), fault };
    let response = queues.consumer_of(Function::CallEnded, store, back).consume(batch, in_time()).await;
    assert_eq!(again(&response).len(), 1);
    assert_eq!(database.text("SELECT vapi_call_id FROM call_logs").await, Some(good.id));
}

/// A4, B2: an event that cannot be applied is acknowledged, too, leaves no claim, and becomes a dead letter at once.
#[tokio::test]
async fn a_permanent_failure_ends_in_the_dead_letter_queue() {
    let (database, queues, org) = set_up().await;
    let impossible = "ALTER TABLE calls ADD CONSTRAINT nobody_calls CHECK (status <> 'completed')";
    database.superuser().await.batch_execute(impossible).await.unwrap();
    let app = database.app();
    post(&TestWebhook::new(Arc::clone(&app), &queues), org, &Call::default().status("ended", 0)).await;
    let batch = queues.take(Function::CallEnded).await;
    assert_eq!(TestQueues::failure_codes(&batch), ["RF2001"]);
    assert_eq!(again(&consume(&queues, Function::CallEnded, &app, batch).await), [""; 0]);
    assert_eq!(queues.dead_letters(Function::CallEnded).await, ["RF2001"]);
    assert_eq!(database.rows_of(org).await, "[]");
}

/// D1: if the answer is lost after the commit, the outcome is unknown. The event is acknowledged, and applied once.
#[tokio::test]
async fn an_answer_lost_after_the_commit_changes_nothing() {
    let (database, queues, org) = set_up().await;
    let proxy = Proxy::start().await;
    let webhook = TestWebhook::new(database.app_at(Some(&proxy.address)), &queues);
    let call = Call::default();
    post(&webhook, org, &call.status("in-progress", 0)).await;
    proxy.swallow_answers(true);
    post(&webhook, org, &call.report(60_000, json!({}))).await;
    let committed = but_failures(database.everything_of(org).await);
    assert_eq!(committed["call_logs"][0]["status"], "completed", "the server had committed it");

    assert_eq!(drain(&queues, Function::EndOfCallReport, &database.app()).await, 1);
    assert_eq!(but_failures(database.everything_of(org).await), committed);
}

/// D4: a connection that was closed while idle is replaced, and the statement is sent again, so that the event need not
/// be queued.
#[tokio::test]
async fn a_dead_idle_connection_is_replaced_at_once() {
    let (database, queues, org) = set_up().await;
    let proxy = Proxy::start().await;
    let webhook = TestWebhook::new(database.app_at(Some(&proxy.address)), &queues);
    post(&webhook, org, &Call::default().status("ended", 0)).await;
    proxy.cut();
    post(&webhook, org, &Call::default().status("ended", 0)).await;
    assert_eq!(proxy.connections(), 2);
    assert_eq!(database.count("call_logs WHERE status = 'completed'").await, 2);
    assert!(queues.take(Function::CallEnded).await.records.is_empty());
}

/// D1: during an outage the first webhook waits for the database and the following ones do not: the circuit breaker
/// queues them without a connection attempt. After the breaker has closed, the next webhook connects again and is
/// applied.
#[tokio::test]
async fn a_known_outage_costs_no_further_wait() {
    let (database, queues, org) = set_up().await;
    let proxy = Proxy::start().await;
    for (memory, connections) in [(Duration::from_hours(1), 1), (Duration::ZERO, 4)] {
        let before = proxy.connections();
        let timeouts = Timeouts {
            connect: Duration::from_millis(500),
            statement: Duration::from_millis(500),
            retry_after: memory,
            ..Timeouts::default()
        };
        let webhook = TestWebhook::new(database.app_with(Some(&proxy.address), timeouts), &queues);
        proxy.fall_silent(true);
        for _ in 0..4 {
            post(&webhook, org, &Call::default().status("ended", 0)).await;
        }
        assert_eq!(proxy.connections() - before, connections, "{memory:?}");
        assert_eq!(drain(&queues, Function::CallEnded, &database.app()).await, 4);

        proxy.fall_silent(false);
        post(&webhook, org, &Call::default().status("ended", 0)).await;
        let waits = usize::from(memory > Duration::ZERO);
        assert_eq!(drain(&queues, Function::CallEnded, &database.app()).await, waits, "{memory:?}");
    }
}

/// D1: a connection that was idle for long is not used again, since a router may have dropped it silently.
#[tokio::test]
async fn a_connection_idle_for_long_is_not_used_again() {
    let (database, queues, org) = set_up().await;
    let proxy = Proxy::start().await;
    for (max_idle, connections) in [(Duration::from_hours(1), 1), (Duration::ZERO, 3)] {
        let before = proxy.connections();
        let timeouts = Timeouts { max_idle, ..Timeouts::default() };
        let webhook = TestWebhook::new(database.app_with(Some(&proxy.address), timeouts), &queues);
        for _ in 0..3 {
            post(&webhook, org, &Call::default().status("ended", 0)).await;
        }
        assert_eq!(proxy.connections() - before, connections, "{max_idle:?}");
    }
    assert_eq!(database.count("call_logs WHERE status = 'completed'").await, 6);
}

/// D5: a key that is revoked after an event was received does not reject the event in its queue. A key that was revoked
/// before does (RF2004).
#[tokio::test]
async fn a_queued_event_keeps_the_right_it_came_with() {
    let (database, queues, org) = set_up().await;
    let webhook = TestWebhook::new(database.app_at(UNAVAILABLE), &queues);
    let (before, after) = (Call::default(), Call::default());
    post(&webhook, org, &before.status("ended", 0)).await;
    database.admin().await.rotate_key(org, Duration::ZERO).await.unwrap();
    // While the database is unavailable, the webhook function cannot know that the key has been revoked.
    post(&webhook, org, &after.status("ended", 0)).await;
    assert_eq!(drain(&queues, Function::CallEnded, &database.app()).await, 2);
    assert_eq!(database.text("SELECT vapi_call_id FROM call_logs").await, Some(before.id));
    assert_eq!(queues.dead_letters(Function::CallEnded).await, ["RF2004"]);
}

/// A7: after the full rollback, webhooks wait in their queues (RF1006), with all earlier rows in place. They apply
/// after the schema is migrated again.
#[tokio::test]
async fn after_the_full_rollback_events_wait_for_the_migration() {
    const ROLLBACK: &str = include_str!("../../migrations/rollback/constraints_and_indexes.sql");
    let (database, queues, org) = set_up().await;
    let app = database.app();
    let webhook = TestWebhook::new(Arc::clone(&app), &queues);
    let call = Call::default();
    post(&webhook, org, &call.status("in-progress", 0)).await;
    let before = but_failures(database.everything_of(org).await);
    database.superuser().await.batch_execute(ROLLBACK).await.unwrap();

    post(&webhook, org, &call.report(60_000, json!({}))).await;
    let batch = queues.take(Function::EndOfCallReport).await;
    assert_eq!(TestQueues::failure_codes(&batch), ["RF1006"]);
    assert_eq!(again(&consume(&queues, Function::EndOfCallReport, &app, batch.clone()).await).len(), 1);
    assert_eq!(but_failures(database.everything_of(org).await), before);

    database.migrate().await;
    assert_eq!(but_failures(database.everything_of(org).await), before);
    assert_eq!(again(&consume(&queues, Function::EndOfCallReport, &app, batch).await), [""; 0]);
    assert_eq!(database.count("call_logs WHERE status = 'completed' AND cost = 0.037").await, 1);
}
