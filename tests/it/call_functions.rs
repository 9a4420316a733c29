//! The three SQL functions that can be called on their own (A5).

use ringfence_harness::testing::{Call, TestDatabase};
use ringfence_vapi::{AgentId, LeadId, OrgId};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

const CREATE: &str = "SELECT * FROM create_inbound_call_atomically($1, $2, $3, $4, $5, $6)";
const COMPLETE: &str = "SELECT * FROM update_call_completed_atomically($1, $2, $3, $4)";
const RECORD: &str = "SELECT * FROM update_call_with_recording_atomically($1, $2, $3, $4, $5, $6)";

struct Fixture {
    database: TestDatabase,
    org: OrgId,
    app: Client,
}

impl Fixture {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let org = database.org("Acme").await;
        let app = database.client("ringfence_app").await;
        Self { database, org, app }
    }

    async fn create(&self, org: OrgId, call: &str, agent: Option<AgentId>, lead: Option<LeadId>) -> Row {
        let (agent, lead) = (agent.map(|agent| *agent.as_uuid()), lead.map(|lead| *lead.as_uuid()));
        let metadata = serde_json::json!({"campaign": "spring"});
        self.app.query_one(CREATE, &[org.as_uuid(), &call, &agent, &"+15555550142", &lead, &metadata]).await.unwrap()
    }

    async fn complete(&self, org: OrgId, call: &str, tracking: Option<Uuid>) -> Row {
        self.app.query_one(COMPLETE, &[org.as_uuid(), &call, &42, &tracking]).await.unwrap()
    }

    async fn record(&self, org: OrgId, call: &str, url: Option<&str>, transcript: Option<&str>) -> Row {
        let nothing: Option<&str> = None;
        self.app.query_one(RECORD, &[org.as_uuid(), &call, &url, &nothing, &transcript, &nothing]).await.unwrap()
    }
}

fn flags(row: &Row) -> (bool, bool, bool) {
    (row.get(0), row.get(1), row.get("success"))
}

fn error(row: &Row) -> Option<String> {
    row.get("error_message")
}

/// A5, A8: names, parameters and results are exactly the required ones, and each function has a comment with an
/// example.
#[tokio::test]
async fn the_functions_have_the_demanded_shapes_and_a_comment_with_an_example() {
    let fixture = Fixture::new().await;
    let query =
        "SELECT proname || '(' || pg_get_function_identity_arguments(oid) || ') -> ' || pg_get_function_result(oid),
            obj_description(oid) LIKE '%Example: SELECT * FROM ' || proname || '(%'
        FROM pg_proc WHERE proname LIKE '%atomically' ORDER BY proname";
    let rows = fixture.database.superuser().await.query(query, &[]).await.unwrap();
    let shapes: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    insta::assert_snapshot!(shapes.join("\n"), @r"
    create_inbound_call_atomically(p_org_id uuid, p_vapi_call_id text, p_agent_id uuid, p_phone_number text, p_lead_id uuid, p_metadata jsonb) -> TABLE(call_tracking_id uuid, call_logs_id uuid, success boolean, error_message text)
    update_call_completed_atomically(p_org_id uuid, p_vapi_call_id text, p_duration_seconds integer, p_call_tracking_id uuid) -> TABLE(call_logs_updated boolean, call_tracking_updated boolean, success boolean, error_message text)
    update_call_with_recording_atomically(p_org_id uuid, p_vapi_call_id text, p_recording_url text, p_recording_storage_path text, p_transcript text, p_call_type text) -> TABLE(call_logs_updated boolean, calls_updated boolean, success boolean, error_message text)
    ");
    assert!(rows.iter().all(|row| row.get(1)), "every comment has an example");
}

/// A5: the function creates the call's rows in all tables, with the ids of its result. A second call returns the same
/// ids.
#[tokio::test]
async fn creating_an_inbound_call_makes_its_rows_once() {
    let fixture = Fixture::new().await;
    let (database, org) = (&fixture.database, fixture.org);
    let lead = database.lead(org, "+15555550142").await;
    let agent = database.agent(org, "assistant-1").await;
    let row = fixture.create(org, "call-1", Some(agent), Some(lead)).await;
    assert_eq!((row.get::<_, bool>("success"), error(&row)), (true, None));
    let (tracking, log): (Uuid, Uuid) = (row.get("call_tracking_id"), row.get("call_logs_id"));
    let made = format!(
        "call_logs l JOIN call_tracking t USING (org_id, vapi_call_id) JOIN calls c USING (org_id, vapi_call_id)
         WHERE l.id = '{log}' AND t.id = '{tracking}' AND l.agent_id = '{agent}' AND t.lead_id = '{lead}' AND l.direction = 'inbound'
            AND l.from_number = '+15555550142' AND t.phone_number = '+15555550142' AND l.metadata ->> 'campaign' = 'spring'"
    );
    assert_eq!(database.count(&made).await, 1);

    let again = fixture.create(org, "call-1", None, None).await;
    assert_eq!((again.get::<_, Uuid>("call_tracking_id"), again.get::<_, Uuid>("call_logs_id")), (tracking, log));
    assert_eq!(database.count(&made).await, 1, "a known agent or lead never gives way to an unknown one");
}

/// A5, E2: a completed call is completed in every table, with or without its tracking id. The time of the statement is
/// not taken for the end of the call.
#[tokio::test]
async fn completing_a_call_updates_every_table() {
    let fixture = Fixture::new().await;
    for with_id in [true, false] {
        let call = format!("call-{with_id}");
        let created = fixture.create(fixture.org, &call, None, None).await;
        let tracking = with_id.then(|| created.get("call_tracking_id"));
        let row = fixture.complete(fixture.org, &call, tracking).await;
        assert_eq!((flags(&row), error(&row)), ((true, true, true), None));
    }
    let completed = "call_logs l JOIN call_tracking t USING (org_id, vapi_call_id) JOIN calls c USING (org_id, vapi_call_id)
        WHERE 'completed' = ALL (ARRAY[l.status, t.status, c.status]) AND 42 = ALL (ARRAY[l.duration_seconds, t.duration_seconds])
            AND l.ended_at IS NULL AND t.ended_at IS NULL AND t.called_at IS NULL";
    assert_eq!(fixture.database.count(completed).await, 2);
}

/// A5: recording, transcript and type are added. A NULL argument does not change a known value.
#[tokio::test]
async fn a_recording_is_added_and_null_preserves_known_values() {
    let fixture = Fixture::new().await;
    fixture.create(fixture.org, "call-1", None, None).await;
    let row = fixture.record(fixture.org, "call-1", Some("https://storage.example/r.wav"), None).await;
    assert_eq!((flags(&row), error(&row)), ((true, true, true), None));
    let row = fixture.record(fixture.org, "call-1", None, Some("User: hello")).await;
    assert_eq!(flags(&row), (true, true, true));
    let merged =
        "call_logs l JOIN calls c USING (org_id, vapi_call_id) WHERE l.recording_url = 'https://storage.example/r.wav'
        AND l.transcript = 'User: hello' AND c.recording_state = 'linked'";
    assert_eq!(fixture.database.count(merged).await, 1);
}

/// A5: without a row of that org, all flags are false and nothing is written, even if another org has the call or the
/// tracking id.
#[tokio::test]
async fn without_a_row_of_that_org_nothing_is_written() {
    let fixture = Fixture::new().await;
    let other = fixture.database.org("Other").await;
    let theirs: Uuid = fixture.create(other, "call-1", None, None).await.get("call_tracking_id");
    let ours: Uuid = fixture.create(fixture.org, "call-2", None, None).await.get("call_tracking_id");
    let before = fixture.database.rows_by_org().await;
    for row in [
        fixture.complete(fixture.org, "call-1", None).await,
        fixture.complete(fixture.org, "call-1", Some(theirs)).await,
        fixture.complete(fixture.org, "call-2", Some(theirs)).await,
        fixture.complete(fixture.org, "never", Some(ours)).await,
        fixture.record(fixture.org, "call-1", Some("https://storage.example/r.wav"), Some("text")).await,
        fixture.record(fixture.org, "never", None, None).await,
    ] {
        assert_eq!(flags(&row), (false, false, false));
        assert_eq!(error(&row).as_deref(), Some("no such call in this org"));
    }
    assert_eq!(fixture.database.rows_by_org().await, before);
}

/// A1, A5, A8: a failure rolls everything back, and the message contains SQLSTATE and constraint name, but no value.
#[tokio::test]
async fn a_failure_is_rolled_back_and_reports_state_and_constraint() {
    let fixture = Fixture::new().await;
    let other = fixture.database.org("Other").await;
    let their_agent = fixture.database.agent(other, "assistant-1").await;
    let their_lead = fixture.database.lead(other, "+15555550142").await;
    let before = fixture.database.rows_by_org().await;
    for (agent, lead, constraint) in
        [(Some(their_agent), None, "call_logs_agent_fkey"), (None, Some(their_lead), "call_logs_lead_fkey")]
    {
        let row = fixture.create(fixture.org, "call-1", agent, lead).await;
        assert!(!row.get::<_, bool>("success"));
        assert_eq!(row.get::<_, Option<Uuid>>("call_logs_id"), None);
        assert_eq!(error(&row), Some(format!("SQLSTATE 23503, constraint {constraint}")));
    }
    let nobody = fixture.create(OrgId::from(Uuid::new_v4()), "call-1", None, None).await;
    assert_eq!(error(&nobody).as_deref(), Some("SQLSTATE 23503, constraint call_logs_org_fkey"));
    assert_eq!(fixture.database.rows_by_org().await, before);
}

/// A5: the functions and the events use the same merge code: one can complete a call that the other started.
#[tokio::test]
async fn functions_and_events_complete_each_other() {
    let fixture = Fixture::new().await;
    let call = Call { id: "call-1".to_owned(), ..Call::default() };
    fixture.create(fixture.org, "call-1", None, None).await;
    fixture.database.apply(fixture.org, &[call.report(24_900, serde_json::json!({}))]).await;
    let row = fixture.complete(fixture.org, "call-1", None).await;
    assert_eq!(flags(&row), (true, true, true));
    let merged = "call_logs WHERE status = 'completed' AND cost = 0.037 AND ended_at = '2026-09-14T15:02:32.78Z'";
    assert_eq!(fixture.database.count(merged).await, 1, "the function knows no better end than the report's");
}
