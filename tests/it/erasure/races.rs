//! E3: what is in progress while a call is erased.

use ringfence_harness::testing::call::delivery;
use ringfence_harness::testing::{Call, TestDatabase};
use serde_json::{Value, json};

/// Waits until a session of the database waits for a lock.
async fn until_somebody_waits(database: &TestDatabase) {
    let waiting = "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    while database.count(waiting).await == 0 {
        tokio::task::yield_now().await;
    }
}

/// E3: an erasure waits for each transaction that found no tombstone and is not committed yet, and then deletes what it
/// wrote: a timeline event, which needs no row of the call; a failed operation; a claimed tool call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_waits_for_every_writer() {
    let database = TestDatabase::new().await;
    let org = database.org("Acme").await;
    database
        .superuser()
        .await
        .batch_execute(&format!(
            "INSERT INTO tools (org_id, kind, name, endpoint, timeout_seconds, is_idempotent)
        VALUES ('{org}', 'tool', 'book', 'https://shop.example/book', 10, false)"
        ))
        .await
        .unwrap();
    let failures = json!({"function": "call-started", "receives": 1, "attempts": [
        {"failed_at": "2026-11-22T12:00:00Z", "function": "call-started", "code": "RF2001"}]});
    let none = Value::Null;
    for (table, write) in [
        ("processed_webhook_events", "SELECT outcome FROM apply_event_v1($1, 1, $2, $3, now(), NULLIF($4::jsonb, 'null'))"),
        ("failed_operations", "SELECT event_org::text FROM record_failure_v1($1, 1, $2, $3, now(), $4, 'dead')"),
        ("tool_executions WHERE state = 'running'", "SELECT outcome FROM claim_tool_calls_v1($1, 1, $3::jsonb -> 'call', NULL,
            jsonb_build_array(jsonb_build_object('execution_id', 'tool-calls:' || ($3::jsonb #>> '{call,id}') || ':' || left($2::text, 4), 'tool', 'book')),
            now(), gen_random_uuid()) WHERE $4::jsonb IS NOT NULL"),
    ] {
        let call = Call::default();
        let delivery = delivery(org, &call.message("hang", 0, json!({})));
        let event = serde_json::to_value(&delivery.event).unwrap();
        let parameter = if table == "failed_operations" { &failures } else { &none };
        let mut app = database.client("ringfence_app").await;
        let transaction = app.transaction().await.unwrap();
        transaction.query_one(write, &[org.as_uuid(), &delivery.key.as_str(), &event, parameter]).await.unwrap();

        let (eraser, id) = (database.superuser().await, call.id.clone());
        let erasing = tokio::spawn(async move {
            eraser.execute("SELECT erase_call_v1('ada', $1, $2, true)", &[org.as_uuid(), &id]).await
        });
        until_somebody_waits(&database).await;
        transaction.commit().await.unwrap();
        erasing.await.unwrap().unwrap();
        assert_eq!(database.count(table).await, 0, "{table}");
    }
}

/// E3: a timeline event that waited for an erasure finds the tombstone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_waited_for_an_erasure_is_not_stored() {
    let database = TestDatabase::new().await;
    let (org, call) = (database.org("Acme").await, Call::default());
    let delivery = delivery(org, &call.message("hang", 0, json!({})));
    let event = serde_json::to_value(&delivery.event).unwrap();
    let mut eraser = database.superuser().await;
    let transaction = eraser.transaction().await.unwrap();
    transaction.execute("SELECT erase_call_v1('ada', $1, $2, true)", &[org.as_uuid(), &call.id]).await.unwrap();

    let (app, key) = (database.client("ringfence_app").await, delivery.key.as_str().to_owned());
    let applying = tokio::spawn(async move {
        let apply = "SELECT outcome FROM apply_event_v1($1, 1, $2, $3, now())";
        app.query_one(apply, &[org.as_uuid(), &key, &event]).await.map(|row| row.get::<_, String>(0))
    });
    until_somebody_waits(&database).await;
    transaction.commit().await.unwrap();
    let error = applying.await.unwrap().unwrap_err();
    assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("40001"), "{error:?}");
    assert_eq!(database.count("processed_webhook_events").await, 0);
}

/// E3: an erasure of a number waits for events that were being applied when its tombstone was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_of_a_number_sees_the_events_in_progress() {
    let database = TestDatabase::new().await;
    let (org, call) = (database.org("Acme").await, Call::default());
    let delivery = delivery(org, &call.status("in-progress", 0));
    let event = serde_json::to_value(&delivery.event).unwrap();
    let mut app = database.client("ringfence_app").await;
    let transaction = app.transaction().await.unwrap();
    let apply = "SELECT outcome FROM apply_event_v1($1, 1, $2, $3, now())";
    transaction.query_one(apply, &[org.as_uuid(), &delivery.key.as_str(), &event]).await.unwrap();

    let admin = database.admin().await;
    let erasing = tokio::spawn(async move {
        let now = jiff::Timestamp::now();
        admin.add_number_tombstones(org, &["t.hash".to_owned()], now).await.unwrap();
        admin.calls_of_number(org, &["+15555550142".to_owned()], &[], now).await.unwrap()
    });
    while database.count("erasures").await == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!erasing.is_finished(), "the erasure does not wait for the event");
    transaction.commit().await.unwrap();
    assert_eq!(erasing.await.unwrap().into_iter().collect::<Vec<_>>(), [call.id]);
}
