//! The lines of the review's checklist (A8). Each test is named after its line; the details are in the other files.

use ringfence_core::Outcome;
use ringfence_harness::testing::database::{apply, try_apply};
use ringfence_harness::testing::{Call, TestDatabase};
use ringfence_vapi::OrgId;
use serde_json::{Value, json};
use tokio_postgres::error::SqlState;

const CUSTOMER: &str = "+15555550142";

fn whole_call(call: &Call) -> Vec<Value> {
    vec![
        call.status("in-progress", 4_000),
        call.transcript("A visit, please.", 9_000),
        call.status("ended", 21_400),
        call.report(24_900, json!({})),
    ]
}

/// Applies bodies concurrently, each over its own connection.
async fn at_once(database: &TestDatabase, bodies: Vec<(OrgId, Value)>) -> Vec<Outcome> {
    let mut tasks = tokio::task::JoinSet::new();
    for (org, body) in bodies {
        let connection = database.app();
        tasks.spawn(async move { apply(&connection, org, &body).await });
    }
    tasks.join_all().await
}

fn applied(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Applied { .. })).count()
}

/// A8: org present and different orgs. A1: the end of a call touches only the rows of its org.
#[tokio::test]
async fn org_present_and_different_orgs() {
    let database = TestDatabase::new().await;
    let (acme, other) = (database.org("Acme").await, database.org("Other").await);
    let call = Call::default();
    database.apply(acme, &[call.status("in-progress", 4_000)]).await;
    database.apply(other, &[call.status("in-progress", 4_000)]).await;
    let others = database.rows_of(other).await;
    database.apply(acme, &[call.status("ended", 21_400)]).await;
    assert_eq!(database.rows_of(other).await, others);
    for table in ["call_logs", "call_tracking", "calls"] {
        let completed = format!("{table} WHERE status = 'completed' AND org_id = '{acme}'");
        assert_eq!(database.count(&completed).await, 1, "{table}");
    }
}

/// A8: org filter in the report. A2, A3: the report's updates of `call_logs` and `calls` are org-scoped.
#[tokio::test]
async fn org_filter_in_the_report() {
    let database = TestDatabase::new().await;
    let (acme, other) = (database.org("Acme").await, database.org("Other").await);
    let call = Call::default();
    for org in [acme, other] {
        database.apply(org, &[call.status("in-progress", 4_000)]).await;
    }
    let others = database.rows_of(other).await;
    database.apply(acme, &[call.report(24_900, json!({}))]).await;
    assert_eq!(database.rows_of(other).await, others);
    assert_eq!(database.count(&format!("call_logs WHERE cost = 0.037 AND org_id = '{acme}'")).await, 1);
    assert_eq!(database.count(&format!("calls WHERE cost = 0.037 AND org_id = '{acme}'")).await, 1);
}

/// A8: concurrent webhooks for one call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_webhooks_for_one_call() {
    let database = TestDatabase::new().await;
    let acme = database.org("Acme").await;
    let in_sequence = database.org("In sequence").await;
    let bodies = whole_call(&Call::default());
    let outcomes = at_once(&database, bodies.iter().map(|body| (acme, body.clone())).collect()).await;
    assert_eq!(applied(&outcomes), bodies.len());
    database.apply(in_sequence, &bodies).await;
    assert_eq!(database.rows_of(acme).await, database.rows_of(in_sequence).await);
}

/// A8: duplicate arrival. A4: a duplicate returns early and changes nothing.
#[tokio::test]
async fn duplicate_arrival() {
    let database = TestDatabase::new().await;
    let acme = database.org("Acme").await;
    let bodies = whole_call(&Call::default());
    database.apply(acme, &bodies).await;
    let versions = "SELECT string_agg(xmin::text, ',' ORDER BY tableoid, ctid) FROM (
        SELECT xmin, tableoid, ctid FROM call_logs UNION ALL SELECT xmin, tableoid, ctid FROM call_tracking
        UNION ALL SELECT xmin, tableoid, ctid FROM calls UNION ALL SELECT xmin, tableoid, ctid FROM call_transcripts) AS rows";
    let before = database.text(versions).await;
    let again = database.apply(acme, &bodies).await;
    assert!(again.iter().all(|outcome| *outcome == Outcome::Duplicate { org_id: acme }), "{again:?}");
    assert_eq!(database.text(versions).await, before, "a duplicate wrote to a row");
}

/// A8: each function called directly (their results in detail: `call_functions.rs`).
#[tokio::test]
async fn each_function_called_directly() {
    let database = TestDatabase::new().await;
    let acme = database.org("Acme").await;
    let app = database.client("ringfence_app").await;
    for call in [
        "create_inbound_call_atomically($1, 'call-1', NULL, '+15555550142', NULL, NULL)",
        "update_call_completed_atomically($1, 'call-1', 42, NULL)",
        "update_call_with_recording_atomically($1, 'call-1', NULL, 'org/call-1.wav', NULL, 'inboundPhoneCall')",
    ] {
        let row =
            app.query_one(&format!("SELECT success, error_message FROM {call}"), &[acme.as_uuid()]).await.unwrap();
        assert_eq!((row.get::<_, bool>(0), row.get::<_, Option<&str>>(1)), (true, None), "{call}");
    }
    let whole = "calls WHERE status = 'completed' AND duration_seconds = 42 AND recording_state = 'stored'
        AND recording_path = 'org/call-1.wav' AND call_type = 'inboundPhoneCall'";
    assert_eq!(database.count(whole).await, 1);
}

/// A8: rollback on error (for every event and every table that it writes: `claims.rs`).
#[tokio::test]
async fn rollback_on_error() {
    let database = TestDatabase::new().await;
    let acme = database.org("Acme").await;
    let refuse = "ALTER TABLE calls ADD CONSTRAINT calls_refuse CHECK (cost IS NULL)";
    database.superuser().await.batch_execute(refuse).await.unwrap();
    let failure = try_apply(&database.app(), acme, &Call::default().report(24_900, json!({}))).await.unwrap_err();
    assert_eq!(failure.constraint.as_deref(), Some("calls_refuse"));
    for table in ["processed_webhook_events", "call_logs", "call_tracking", "calls"] {
        assert_eq!(database.count(table).await, 0, "{table}");
    }
}

/// A8: NULL org rejected, by INSERT and by UPDATE. A6: with the constraint's name.
#[tokio::test]
async fn null_org_rejected() {
    let database = TestDatabase::new().await;
    let acme = database.org("Acme").await;
    database.apply(acme, &whole_call(&Call::default())).await;
    let owner = database.superuser().await;
    let queue = format!("INSERT INTO recording_upload_queue (org_id, vapi_call_id) VALUES ('{acme}', 'call-1')");
    owner.batch_execute(&queue).await.unwrap();
    for table in ["call_logs", "call_tracking", "calls", "recording_upload_queue"] {
        let insert = format!("INSERT INTO {table} (org_id, vapi_call_id) VALUES (NULL, 'call-2')");
        let update = format!("UPDATE {table} SET org_id = NULL");
        for statement in [insert, update] {
            let error = owner.batch_execute(&statement).await.unwrap_err();
            let error = error.as_db_error().unwrap();
            assert_eq!(error.code(), &SqlState::CHECK_VIOLATION, "{statement}");
            assert_eq!(error.constraint(), Some(format!("{table}_org_id_not_null").as_str()), "{statement}");
        }
    }
}

/// A8: no NULL org in any row of any table, after whole calls of several orgs.
#[tokio::test]
async fn no_null_org_in_any_row() {
    let database = TestDatabase::new().await;
    for name in ["Acme", "Other"] {
        let org = database.org(name).await;
        database.apply(org, &whole_call(&Call::default())).await;
    }
    let tables =
        "SELECT table_name FROM information_schema.columns WHERE column_name = 'org_id' AND table_schema = 'public'";
    let tables = database.superuser().await.query(tables, &[]).await.unwrap();
    assert!(tables.len() >= 13, "{} tables with an org", tables.len());
    for table in tables {
        let table: &str = table.get(0);
        assert_eq!(database.count(&format!("{table} WHERE org_id IS NULL")).await, 0, "{table}");
    }
}

/// A8: the indexes exist and are used, by the lookups of the review (the plans inside the functions: `plans.rs`).
#[tokio::test]
async fn the_indexes_exist_and_are_used() {
    let database = TestDatabase::new().await;
    let acme = database.org("Acme").await;
    let superuser = database.superuser().await;
    let fill = format!(
        "INSERT INTO call_logs (org_id, vapi_call_id) SELECT '{acme}', 'call-' || n FROM generate_series(1, 5000) n;
         INSERT INTO call_tracking (org_id, vapi_call_id) SELECT '{acme}', 'call-' || n FROM generate_series(1, 5000) n;
         INSERT INTO processed_webhook_events (org_id, event_id, event_type, vapi_call_id, event, received_at)
            SELECT '{acme}', 'hang:call-' || n, 'hang', 'call-' || n, '{{}}', now() FROM generate_series(1, 5000) n;
         ANALYZE call_logs, call_tracking, processed_webhook_events;"
    );
    superuser.batch_execute(&fill).await.unwrap();
    for (from, index) in [
        ("call_logs WHERE vapi_call_id = 'call-7'", "idx_call_logs_org_vapi_call_id"),
        ("call_tracking WHERE vapi_call_id = 'call-7'", "idx_call_tracking_org_vapi_call_id"),
        ("processed_webhook_events WHERE event_id = 'hang:call-7'", "idx_processed_events_org_event"),
    ] {
        let explain = format!("EXPLAIN SELECT * FROM {from} AND org_id = '{acme}'");
        let plan = superuser.query(&explain, &[]).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|line| line.get(0)).collect();
        assert!(plan.join("\n").contains(&format!("using {index}")), "{plan:?}");
    }
}

/// A8: concurrent starts of one call create one row in each table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_starts() {
    let database = TestDatabase::new().await;
    let acme = database.org("Acme").await;
    let call = Call::default();
    // Twenty different events, so that no claim prevents a concurrent write of the call's rows.
    let starts = (0..20).map(|turn| (acme, call.status("in-progress", 4_000 + turn))).collect();
    assert_eq!(applied(&at_once(&database, starts).await), 20);
    for table in ["call_logs", "call_tracking", "calls"] {
        assert_eq!(database.count(&format!("{table} WHERE status = 'in-progress'")).await, 1, "{table}");
        assert_eq!(database.count(table).await, 1, "{table}");
    }
    assert_eq!(database.text("SELECT started_at FROM calls").await.as_deref(), Some("2026-09-14 15:02:15.48+00"));
}

/// A8: started, transcribed and ended in sequence.
#[tokio::test]
async fn started_transcribed_ended_in_sequence() {
    let database = TestDatabase::new().await;
    let acme = database.org("Acme").await;
    let call = Call::default();
    for (body, status, transcripts) in [
        (call.status("in-progress", 4_000), "in-progress", 0),
        (call.transcript("A visit, please.", 9_000), "in-progress", 1),
        (call.status("ended", 21_400), "completed", 1),
    ] {
        database.apply(acme, &[body]).await;
        for table in ["call_logs", "call_tracking", "calls"] {
            assert_eq!(database.text(&format!("SELECT status FROM {table}")).await.as_deref(), Some(status), "{table}");
        }
        assert_eq!(database.count("call_transcripts").await, transcripts);
    }
}

/// A8: several orgs concurrently, with the same call ids, have the same rows as each alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_orgs_at_once() {
    let database = TestDatabase::new().await;
    let call = Call::default();
    let mut bodies = Vec::new();
    for name in ["Acme", "Other", "Third"] {
        let org = database.org(name).await;
        database.lead(org, CUSTOMER).await;
        bodies.extend(whole_call(&call).into_iter().map(|body| (org, body)));
    }
    let outcomes = at_once(&database, bodies).await;
    assert_eq!(applied(&outcomes), 12);
    let alone = database.org("Alone").await;
    database.lead(alone, CUSTOMER).await;
    database.apply(alone, &whole_call(&call)).await;
    let expected = database.rows_of(alone).await;
    for (org, rows) in database.rows_by_org().await {
        assert_eq!(rows, expected, "{org}");
    }
}

/// A8: with and without a lead.
#[tokio::test]
async fn with_and_without_a_lead() {
    let database = TestDatabase::new().await;
    let acme = database.org("Acme").await;
    let lead = database.lead(acme, CUSTOMER).await;
    let known = Call::default();
    let stranger = Call { customer: Some("+15555550199".to_owned()), ..Call::default() };
    let anonymous = Call { customer: None, ..Call::default() };
    for call in [&known, &stranger, &anonymous] {
        database.apply(acme, &whole_call(call)).await;
    }
    for table in ["call_logs", "call_tracking"] {
        let linked = format!("{table} WHERE lead_id = '{lead}' AND vapi_call_id = '{}'", known.id);
        assert_eq!(database.count(&linked).await, 1, "{table}");
        assert_eq!(
            database.count(&format!("{table} WHERE lead_id IS NULL AND status = 'completed'")).await,
            2,
            "{table}"
        );
    }
    assert_eq!(database.count("leads WHERE status = 'contacted' AND last_contacted_at IS NOT NULL").await, 1);
}

/// A8: with and without a recording.
#[tokio::test]
async fn with_and_without_a_recording() {
    let database = TestDatabase::new().await;
    let acme = database.org("Acme").await;
    let (recorded, silent) = (Call::default(), Call::default());
    let without = silent.report(24_900, json!({"artifact": {"transcript": "AI: Hello?"}}));
    database.apply(acme, &[recorded.report(24_900, json!({})), without]).await;
    let state = |call: &Call| format!("SELECT recording_state FROM calls WHERE vapi_call_id = '{}'", call.id);
    assert_eq!(database.text(&state(&recorded)).await.as_deref(), Some("linked"));
    assert_eq!(database.text(&state(&silent)).await.as_deref(), Some("none"));
    let query = format!("SELECT recording_url FROM call_logs WHERE vapi_call_id = '{}'", silent.id);
    assert_eq!(database.text(&query).await, None);
}
