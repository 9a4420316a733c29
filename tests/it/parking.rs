//! Events that are too large for a queue message: their function parks them, and they apply like other events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_harness::testing::fake_lambda::Invoked;
use ringfence_harness::testing::{Call, FakeLambda, TestDatabase, TestQueues, TestWebhook};
use ringfence_runtime::consumer::Consumer;
use ringfence_runtime::events::{self, EventWorker};
use ringfence_vapi::{Function, OrgId};
use serde_json::{Value, json};

/// Queues whose functions answer, a database with one org, and the function of reports.
async fn set_up() -> (TestDatabase, TestQueues, OrgId) {
    let lambda = FakeLambda::start().await;
    let database = TestDatabase::new().await;
    let (org, queues) = (database.org("Acme").await, TestQueues::with_functions(&lambda.endpoint).await);
    let consumer = Arc::new(queues.consumer(Function::EndOfCallReport, database.app()));
    lambda.serve(move |invoked| park(invoked, Arc::clone(&consumer)));
    (database, queues, org)
}

/// Invokes the function of reports to park an event.
async fn park(invoked: Invoked, consumer: Arc<Consumer<EventWorker>>) -> Result<Value, String> {
    assert_eq!(invoked.path, "/2015-03-31/functions/end-of-call-report/invocations");
    let request = serde_json::from_value(invoked.payload).expect("an event to park");
    events::park(&consumer, request).await.map(|()| json!({})).map_err(|error| error.to_string())
}

/// A report that is too large for a message, because its transcript does not compress.
fn oversize(call: &Call) -> Value {
    let transcript: String = std::iter::repeat_with(fastrand::alphanumeric).take(2_000_000).collect();
    call.report(60_000, json!({"artifact": {"transcript": transcript}}))
}

/// Runs the function on the only waiting message, which must succeed. Returns the outcome.
async fn drain(database: &TestDatabase, queues: &TestQueues) -> String {
    let app = database.app();
    let consumer = queues.consumer(Function::EndOfCallReport, Arc::clone(&app));
    let batch = queues.take(Function::EndOfCallReport).await;
    assert_eq!(batch.records.len(), 1);
    let message = batch.records[0].body.clone().unwrap_or_default();
    assert_eq!(consumer.consume(batch, Instant::now() + Duration::from_mins(5)).await.batch_item_failures.len(), 0);
    message
}

/// D1, B2: while the database is unavailable, a report of two megabytes is answered with 200. It is parked in the
/// bucket and later applied completely. If its message is delivered again, it is a duplicate.
#[tokio::test]
async fn an_event_too_large_for_a_message_is_parked_and_applies() {
    let (database, queues, org) = set_up().await;
    let webhook = TestWebhook::new(database.app_at(Some("127.0.0.1:1")), &queues);
    let (call, on_time) = (Call::default(), database.org("On time").await);
    let body = oversize(&call);
    assert_eq!(webhook.post(org, &body).await.status, 200);
    let parked = queues.parked().await;
    assert_eq!(parked.len(), 1);
    assert!(parked[0].starts_with(&format!("{org}/{}/", call.id)), "{parked:?}");

    let again = drain(&database, &queues).await;
    queues.put(Function::EndOfCallReport, &again).await;
    drain(&database, &queues).await;
    assert_eq!(queues.dead_letters(Function::EndOfCallReport).await, [""; 0]);
    TestWebhook::new(database.app(), &queues).post(on_time, &body).await;
    assert_eq!(database.rows_of(org).await, database.rows_of(on_time).await);
    assert_eq!(database.count(&format!("failed_operations WHERE org_id = '{org}' AND state = 'resolved'")).await, 1);
}

/// D1: if the message of a parked event exists but its object does not, the message becomes a dead letter.
#[tokio::test]
async fn a_parked_event_that_is_gone_is_a_dead_letter() {
    let (database, queues, org) = set_up().await;
    let webhook = TestWebhook::new(database.app_at(Some("127.0.0.1:1")), &queues);
    webhook.post(org, &oversize(&Call::default())).await;
    let bucket = queues.environment().required("PARKING_BUCKET").unwrap();
    let key = queues.parked().await.remove(0);
    queues.s3().delete_object().bucket(bucket).key(key).send().await.unwrap();
    drain(&database, &queues).await;
    assert_eq!(queues.dead_letters(Function::EndOfCallReport).await, ["RF2003"]);
}

/// D1: if the database and the function are unavailable, the answer is 503, because the event is not stored anywhere.
#[tokio::test]
async fn an_event_that_cannot_be_handed_over_is_refused() {
    let (database, queues) = (TestDatabase::new().await, TestQueues::new().await);
    let org = database.org("Acme").await;
    let reply =
        TestWebhook::new(database.app_at(Some("127.0.0.1:1")), &queues).post(org, &oversize(&Call::default())).await;
    assert_eq!((reply.status.as_u16(), &reply.body["code"]), (503, &json!("RF3003")));
    assert!(queues.take(Function::EndOfCallReport).await.records.is_empty());
}
