//! Claim and effects commit together or not at all, also under concurrency.

use std::collections::BTreeMap;

use ringfence_core::Outcome;
use ringfence_harness::testing::database::{apply, try_apply};
use ringfence_harness::testing::{Call, TestDatabase, eventually};
use ringfence_vapi::{FailureCode, OrgId};
use serde_json::{Value, json};

/// Events with effects, each with every table that it writes, in the order of writing.
fn events(call: &Call) -> Vec<(&'static str, Value, &'static str)> {
    const OF_CALLS: [&str; 4] = ["processed_webhook_events", "call_logs", "call_tracking", "calls"];
    let events = [
        ("call-started", call.status("in-progress", 4_000), None),
        ("call-ended", call.status("ended", 21_400), Some("leads")),
        ("transcript", call.transcript("A visit, please.", 9_000), Some("call_transcripts")),
        ("end-of-call-report", call.report(24_900, json!({})), Some("leads")),
    ];
    let with_tables = events
        .into_iter()
        .flat_map(|(name, body, own)| OF_CALLS.into_iter().chain(own).map(move |table| (name, body.clone(), table)));
    with_tables.collect()
}

/// Events with effects, each with the table that it writes last.
fn events_and_last_tables(call: &Call) -> Vec<(&'static str, Value, &'static str)> {
    let mut events = events(call);
    // `dedup_by_key` retains the first of adjacent equal names, which is the last table in reverse order.
    events.reverse();
    events.dedup_by_key(|(name, ..)| *name);
    events
}

async fn fail_writes_to(database: &TestDatabase, table: &str) {
    let trigger = format!(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'made_to_fail'; END $$;
         GRANT EXECUTE ON FUNCTION fail TO PUBLIC;
         CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION fail();"
    );
    database.superuser().await.batch_execute(&trigger).await.unwrap();
}

async fn repair(database: &TestDatabase, table: &str) {
    database.superuser().await.batch_execute(&format!("DROP TRIGGER fail ON {table}")).await.unwrap();
}

/// A4: an effect that fails leaves no claim and no other effect. After the cause is fixed, the same event applies.
#[tokio::test]
async fn an_effect_that_fails_leaves_no_claim_for_any_event() {
    for (name, body, table) in events(&Call::default()) {
        let database = TestDatabase::new().await;
        let org = database.org("Acme").await;
        database.lead(org, "+15555550142").await;
        let untouched = database.rows_of(org).await;
        fail_writes_to(&database, table).await;

        let failure = try_apply(&database.app(), org, &body).await.unwrap_err();
        assert_eq!(failure.code, FailureCode::ConstraintViolated, "{name}");
        assert_eq!(failure.constraint.as_deref(), Some("made_to_fail"), "{name}");
        assert_eq!(database.rows_of(org).await, untouched, "{name} left something behind: {table}");

        repair(&database, table).await;
        assert!(matches!(apply(&database.app(), org, &body).await, Outcome::Applied { .. }), "{name}");
        assert_eq!(database.count("processed_webhook_events").await, 1, "{name}");
    }
}

/// A4: the only effect of a timeline event is its claim, so only the claim can fail.
#[tokio::test]
async fn a_timeline_event_whose_claim_fails_is_not_claimed() {
    let database = TestDatabase::new().await;
    let org = database.org("Acme").await;
    let body = Call::default().message("hang", 5_000, json!({}));
    fail_writes_to(&database, "processed_webhook_events").await;
    try_apply(&database.app(), org, &body).await.unwrap_err();
    assert_eq!(database.count("processed_webhook_events").await, 0);
    repair(&database, "processed_webhook_events").await;
    assert!(matches!(apply(&database.app(), org, &body).await, Outcome::Applied { .. }));
}

/// A4: if the server process is killed between the claim and the effects, the event is neither lost nor partly applied.
#[tokio::test]
async fn a_backend_killed_between_claim_and_effects_leaves_nothing() {
    for (name, body, table) in events_and_last_tables(&Call::default()) {
        let database = TestDatabase::new().await;
        let org = database.org("Acme").await;
        database.lead(org, "+15555550142").await;
        let untouched = database.rows_of(org).await;
        let trigger = format!(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
             BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(0.01); RETURN NEW; END $$;
             GRANT EXECUTE ON FUNCTION fail TO PUBLIC;
             CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION fail();"
        );
        database.superuser().await.batch_execute(&trigger).await.unwrap();

        let failure = try_apply(&database.app(), org, &body).await.unwrap_err();
        assert_eq!(failure.code.class().as_str(), "transient", "{name}: {failure}");
        assert_eq!(database.rows_of(org).await, untouched, "{name} left something behind");

        repair(&database, table).await;
        assert!(matches!(apply(&database.app(), org, &body).await, Outcome::Applied { .. }), "{name}");
    }
}

/// Applies bodies concurrently, each over its own connection. Returns the number of each outcome.
async fn side_by_side(database: &TestDatabase, org: OrgId, bodies: Vec<Value>) -> BTreeMap<&'static str, usize> {
    let mut tasks = tokio::task::JoinSet::new();
    for body in bodies {
        let connection = database.app();
        tasks.spawn(async move { apply(&connection, org, &body).await });
    }
    let mut outcomes = BTreeMap::new();
    while let Some(outcome) = tasks.join_next().await {
        let name = match outcome.unwrap() {
            Outcome::Applied { .. } => "applied",
            Outcome::Duplicate { .. } => "duplicate",
            other => panic!("{other:?}"),
        };
        *outcomes.entry(name).or_default() += 1;
    }
    outcomes
}

/// A4, D2: 50 concurrent deliveries of one event apply it once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_concurrent_deliveries_of_one_event_apply_it_once() {
    for (name, body, _) in events_and_last_tables(&Call::default()) {
        let database = TestDatabase::new().await;
        let org = database.org("Acme").await;
        let outcomes = side_by_side(&database, org, vec![body; 50]).await;
        assert_eq!(outcomes, BTreeMap::from([("applied", 1), ("duplicate", 49)]), "{name}");
        assert_eq!(database.count("processed_webhook_events").await, 1, "{name}");
        assert_eq!(database.count("call_logs").await, 1, "{name}");
    }
}

/// D2: concurrent start and end of one call neither deadlock nor lose a value of either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn started_and_ended_at_the_same_moment_lose_nothing() {
    let database = TestDatabase::new().await;
    let org = database.org("Acme").await;
    database.lead(org, "+15555550142").await;
    for _ in 0..40 {
        let call = Call::default();
        let bodies = vec![
            call.status("ringing", 1_000),
            call.status("in-progress", 4_000),
            call.transcript("A visit, please.", 9_000),
            call.status("ended", 21_400),
            call.report(24_900, json!({})),
        ];
        let outcomes = side_by_side(&database, org, bodies).await;
        assert_eq!(outcomes, BTreeMap::from([("applied", 5)]));
    }
    let whole =
        "call_logs l JOIN call_tracking t USING (org_id, vapi_call_id) JOIN calls c USING (org_id, vapi_call_id)
        WHERE l.status = 'completed' AND t.status = 'completed' AND c.status = 'completed' AND t.answered
            AND l.cost = 0.037 AND l.duration_seconds = 17 AND t.called_at IS NOT NULL AND l.lead_id IS NOT NULL";
    assert_eq!(database.count(whole).await, 40);
    assert_eq!(database.count("call_transcripts").await, 40);
}

/// A4: the second claimant waits for the first, and applies the event if the first one's transaction aborts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_claimant_applies_an_event_that_the_first_one_aborted() {
    let database = TestDatabase::new().await;
    let org = database.org("Acme").await;
    let body = Call::default().status("in-progress", 4_000);
    let delivery = ringfence_harness::testing::call::delivery(org, &body);

    let mut first = database.client("ringfence_app").await;
    let transaction = first.transaction().await.unwrap();
    let claim = "SELECT outcome FROM apply_event_v1($1, 1, $2, $3, now())";
    let event = serde_json::to_value(&delivery.event).unwrap();
    let row = transaction.query_one(claim, &[org.as_uuid(), &delivery.key.as_str(), &event]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "applied");

    let connection = database.app();
    let second = tokio::spawn(async move { apply(&connection, org, &body).await });
    let waiting = "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    eventually("the second claimant waits", async || (database.count(waiting).await > 0).then_some(())).await;
    transaction.rollback().await.unwrap();
    assert!(matches!(second.await.unwrap(), Outcome::Applied { .. }));
    assert_eq!(database.count("processed_webhook_events").await, 1);
}
