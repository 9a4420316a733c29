//! Tenant isolation, each layer by itself.

use ringfence_harness::testing::call::delivery;
use ringfence_harness::testing::{Call, TestDatabase, TestQueues, TestWebhook};
use ringfence_protocol::admin::NewAgent;
use ringfence_vapi::OrgId;
use serde_json::json;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

/// Tables with an org to which the functions' role has no access, or only through functions.
const NOT_FOR_THE_FUNCTIONS: [&str; 3] = ["audit_log", "call_routes", "platform_directory"];

/// Two orgs, each with rows in every table that has an org.
async fn two_orgs() -> (TestDatabase, OrgId, OrgId) {
    let database = TestDatabase::new().await;
    let webhook = TestWebhook::new(database.app(), &TestQueues::new().await);
    let orgs = [database.org("Acme").await, database.org("Other").await];
    for org in orgs {
        furnish(&database, &webhook, org).await;
    }
    for table in database.org_tables().await {
        for org in orgs {
            let rows = database.count(&format!("{table} WHERE org_id = '{org}'")).await;
            assert!(rows > 0, "{table} is empty: a new table needs rows in `furnish` for these tests to say anything");
        }
    }
    let [acme, other] = orgs;
    (database, acme, other)
}

async fn furnish(database: &TestDatabase, webhook: &TestWebhook, org: OrgId) {
    let assistant = format!("assistant of {org}");
    let agent = NewAgent {
        name: "Front desk".to_owned(),
        role: "inbound".to_owned(),
        assistant_id: Some(assistant.clone()),
        ..NewAgent::default()
    };
    database.admin().await.add_agent(org, &agent).await.unwrap();
    database.lead(org, "+15555550142").await;
    let call = Call { assistant: Some(assistant), ..Call::default() };
    for body in [call.transcript("A visit.", 0), call.report(60_000, json!({}))] {
        assert_eq!(webhook.post_platform(&body).await.status, 200);
    }
    let rest = format!(
        "INSERT INTO vapi_credentials (org_id, api_key) VALUES ('{org}', 'sealed');
        INSERT INTO partial_gates (org_id, vapi_call_id, passed_at) VALUES ('{org}', '{id}', now());
        INSERT INTO live_connections (connection_id, org_id, expires_at) VALUES ('{org}', '{org}', now());
        INSERT INTO failed_operations (org_id, event_id, event_type, vapi_call_id, function, state, code, receives,
                received_at, event, first_failed_at, last_failed_at)
            VALUES ('{org}', 'event of {id}', 'transcript', '{id}', 'transcript', 'dead', 'RF2001', 1, now(), '{{}}', now(), now());
        INSERT INTO failed_attempts (org_id, event_id, failed_at, function, code)
            VALUES ('{org}', 'event of {id}', now(), 'transcript', 'RF2001');
        INSERT INTO tools (org_id, kind, name, endpoint, timeout_seconds, is_idempotent)
            VALUES ('{org}', 'tool', 'book', 'https://tools.example.com/{org}', 10, false);
        INSERT INTO tool_executions (org_id, execution_id, tool, claimed_by, lease_until)
            VALUES ('{org}', 'tool-calls:{id}:t1', 'book', gen_random_uuid(), now());
        INSERT INTO rollup_cursors (org_id) VALUES ('{org}');
        INSERT INTO event_rollups VALUES ('{org}', 'hour', 'type', now(), 'hang', 1);
        INSERT INTO call_rollups VALUES ('{org}', gen_random_uuid(), 'hour', 'family', now(), true, 'open', 1);
        INSERT INTO erasures (org_id, tombstone) VALUES ('{org}', 'call:erased');
        INSERT INTO orphaned_objects (org_id, storage_key) VALUES ('{org}', '{org}/erased/mono');
        INSERT INTO quarantined_messages (org_id, event_id, event_type, number_tombstones, sealed, received_at)
            VALUES ('{org}', '{id}', 'something.new', '{{}}', 'sealed', now());
        INSERT INTO unknown_fields VALUES ('{org}', now(), 'hang', 'message.newField', 1);
        INSERT INTO reconciliations (org_id, vapi_call_id) VALUES ('{org}', '{id}');
        INSERT INTO admin_operations (id, kind, org_id, actor, parameters, lease_holder, lease_until)
            VALUES ('{org}', 'replay', '{org}', 'ada', '{{}}', gen_random_uuid(), now());",
        id = call.id
    );
    database.superuser().await.batch_execute(&rest).await.unwrap();
}

/// Runs a statement in its own transaction, with an org or without. Returns the number of affected rows, or the error.
async fn attempt(client: &Client, org: Option<OrgId>, statement: &str) -> Result<u64, SqlState> {
    client.batch_execute("BEGIN").await.unwrap();
    if let Some(org) = org {
        client.execute("SELECT enter_org($1)", &[org.as_uuid()]).await.unwrap();
    }
    let result = client.execute(statement, &[]).await;
    // After an error, COMMIT is a rollback.
    client.batch_execute("COMMIT").await.unwrap();
    result.map_err(|error| error.code().cloned().unwrap_or_else(|| panic!("{statement}: {error}")))
}

/// SQLSTATE of an error, and the constraint that it names.
fn violated<T>(result: Result<T, Error>) -> String {
    let error = result.err().expect("a violated constraint");
    let answer = error.as_db_error().unwrap();
    format!("{} {}", answer.code().code(), answer.constraint().unwrap_or_default())
}

/// D3: every table with an org has forced row-level security. The check also covers tables that are added later.
#[tokio::test]
async fn every_table_with_an_org_has_row_level_security() {
    const UNFENCED: &str = "SELECT c.relname::text FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
            AND NOT (c.relrowsecurity AND c.relforcerowsecurity)";
    let database = TestDatabase::new().await;
    let client = database.superuser().await;
    let unfenced =
        async || -> Vec<String> { client.query(UNFENCED, &[]).await.unwrap().iter().map(|row| row.get(0)).collect() };
    // The list of migrations belongs to no org.
    assert_eq!(unfenced().await, ["refinery_schema_history"]);
    client.batch_execute("CREATE TABLE tomorrow (org_id uuid)").await.unwrap();
    assert_eq!(unfenced().await.len(), 2, "the query finds what is not fenced");
    assert!(database.org_tables().await.contains(&"tomorrow".to_owned()));
}

/// D3: without an org the functions' role can read, change and add nothing. Here it has every privilege, so that only
/// row-level security prevents it.
#[tokio::test]
async fn without_an_org_there_is_nothing() {
    let (database, acme, other) = two_orgs().await;
    database
        .superuser()
        .await
        .batch_execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO ringfence_app")
        .await
        .unwrap();
    let app = database.client("ringfence_app").await;
    let before = (database.everything_of(acme).await, database.everything_of(other).await);
    for table in database.org_tables().await {
        for statement in [format!("SELECT FROM {table}"), format!("SELECT FROM {table} FOR UPDATE")] {
            assert_eq!(attempt(&app, None, &statement).await, Ok(0), "{statement}");
        }
        for statement in [format!("UPDATE {table} SET org_id = org_id"), format!("DELETE FROM {table}")] {
            assert_untouched(&attempt(&app, None, &statement).await, &statement);
        }
        assert_eq!(attempt(&app, None, &copy_of(&database, &table, acme).await).await, Err(denied()), "{table}");
    }
    assert_eq!((database.everything_of(acme).await, database.everything_of(other).await), before);
}

/// D3: in one org no row of another can be read, changed, added or taken over, in any table. Here, too, the role has
/// every privilege.
#[tokio::test]
async fn in_one_org_there_is_nothing_of_another() {
    let (database, acme, other) = two_orgs().await;
    database
        .superuser()
        .await
        .batch_execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO ringfence_app")
        .await
        .unwrap();
    let app = database.client("ringfence_app").await;
    let before = (database.everything_of(acme).await, database.everything_of(other).await);
    for table in database.org_tables().await {
        for (org, of_another) in [(acme, other), (other, acme)] {
            fence_holds(&database, &app, &table, org, of_another).await;
        }
    }
    assert_eq!((database.everything_of(acme).await, database.everything_of(other).await), before);
}

async fn fence_holds(database: &TestDatabase, app: &Client, table: &str, org: OrgId, other: OrgId) {
    let own = database.count(&format!("{table} WHERE org_id = '{org}'")).await;
    let own = if NOT_FOR_THE_FUNCTIONS.contains(&table) { 0 } else { u64::try_from(own).unwrap() };
    assert_eq!(attempt(app, Some(org), &format!("SELECT FROM {table}")).await, Ok(own), "{table}: its own rows");
    for statement in [
        format!("UPDATE {table} SET org_id = org_id WHERE org_id = '{other}'"),
        format!("UPDATE {table} SET org_id = '{org}' WHERE org_id = '{other}'"),
        format!("DELETE FROM {table} WHERE org_id = '{other}'"),
    ] {
        assert_untouched(&attempt(app, Some(org), &statement).await, &statement);
    }
    if own > 0 {
        let give_away = format!("UPDATE {table} SET org_id = '{other}'");
        assert_eq!(attempt(app, Some(org), &give_away).await, Err(denied()), "{table}: given away");
    }
    assert_eq!(attempt(app, Some(org), &copy_of(database, table, other).await).await, Err(denied()), "{table}: added");
}

/// A statement that inserts a copy of an org's row of a table.
async fn copy_of(database: &TestDatabase, table: &str, org: OrgId) -> String {
    let row = format!("SELECT to_jsonb(t) FROM {table} t WHERE org_id = '{org}' LIMIT 1");
    let row = database.text(&row).await.unwrap();
    format!(
        "INSERT INTO {table} OVERRIDING SYSTEM VALUE
            SELECT * FROM jsonb_populate_record(NULL::{table}, $row${row}$row$)"
    )
}

fn denied() -> SqlState {
    SqlState::INSUFFICIENT_PRIVILEGE
}

/// Either no row is affected or the trigger of the append-only log raises an error for all roles.
fn assert_untouched(result: &Result<u64, SqlState>, statement: &str) {
    let append_only = SqlState::from_code("RF007");
    assert!(*result == Ok(0) || *result == Err(append_only), "{statement}: {result:?}");
}

/// D3: the functions' own predicates also separate orgs. Here they run as the superuser, to whom row-level security
/// does not apply.
#[tokio::test]
async fn without_the_fence_the_predicates_hold() {
    let (database, acme, _) = two_orgs().await;
    let intruder = database.org("Intruder").await;
    let id = database.text(&format!("SELECT vapi_call_id FROM call_logs WHERE org_id = '{acme}'")).await.unwrap();
    let call = Call { id, assistant: Some(format!("assistant of {acme}")), ..Call::default() };
    let before = database.everything_of(acme).await;
    let superuser = database.superuser().await;
    for body in [
        call.status("in-progress", 0),
        call.transcript("Not yours.", 1_000),
        call.status("ended", 2_000),
        call.message("end-of-call-report", 60_000, json!({"cost": 99})),
    ] {
        let delivery = delivery(intruder, &body);
        let event = serde_json::to_string(&delivery.event).unwrap();
        let apply = format!(
            "SELECT outcome FROM apply_event_v1('{intruder}', 1, '{}', $event${event}$event$, now())",
            delivery.key
        );
        assert_eq!(superuser.query_one(&apply, &[]).await.unwrap().get::<_, String>(0), "applied", "{}", delivery.key);
    }
    for (function, arguments) in [
        ("create_inbound_call_atomically", "NULL, '+15555550142', NULL, '{\"by\": \"the intruder\"}'"),
        ("update_call_completed_atomically", "99, NULL"),
        ("update_call_with_recording_atomically", "'https://intruder.example', NULL, 'Not yours.', NULL"),
    ] {
        let run = format!("SELECT success FROM {function}('{intruder}', '{}', {arguments})", call.id);
        assert!(superuser.query_one(&run, &[]).await.unwrap().get::<_, bool>(0), "{function}");
    }
    assert_eq!(database.everything_of(acme).await, before);
    let own = format!(
        "call_logs WHERE org_id = '{intruder}' AND status = 'completed' AND cost = 99 AND duration_seconds = 99
            AND recording_url LIKE '%intruder%' AND num_nonnulls(agent_id, lead_id, summary) = 0"
    );
    assert_eq!(database.count(&own).await, 1);
}

/// D3: a transaction belongs to one org, also if the second org comes with an event.
#[tokio::test]
async fn a_second_org_in_one_transaction_is_an_error() {
    let (database, acme, other) = two_orgs().await;
    let app = database.client("ringfence_app").await;
    let second_org = Err(SqlState::from_code("RF006"));
    assert_eq!(attempt(&app, Some(acme), &format!("SELECT enter_org('{acme}')")).await, Ok(1), "the same one again");
    assert_eq!(attempt(&app, Some(acme), &format!("SELECT enter_org('{other}')")).await, second_org);

    let delivery = delivery(other, &Call::default().status("ended", 0));
    let event = serde_json::to_string(&delivery.event).unwrap();
    let apply = format!("SELECT * FROM apply_event_v1('{other}', 1, '{}', $event${event}$event$, now())", delivery.key);
    let before = database.everything_of(other).await;
    assert_eq!(attempt(&app, Some(acme), &apply).await, second_org);
    assert_eq!(database.everything_of(other).await, before);
    assert_eq!(attempt(&app, None, &apply).await, Ok(1), "alone it applies");
    assert_ne!(database.everything_of(other).await, before);
}

/// D3: the org belongs to the transaction, not to the connection: the next transaction has no org, after a commit and
/// after a rollback.
#[tokio::test]
async fn the_org_ends_with_its_transaction() {
    let (database, acme, _) = two_orgs().await;
    let app = database.client("ringfence_app").await;
    for end in ["COMMIT", "ROLLBACK"] {
        let enter = format!("BEGIN; SELECT enter_org('{acme}')");
        app.batch_execute(&enter).await.unwrap();
        assert_eq!(app.query("SELECT FROM call_logs", &[]).await.unwrap().len(), 1, "before {end}");
        app.batch_execute(end).await.unwrap();
        assert_eq!(app.query("SELECT FROM call_logs", &[]).await.unwrap().len(), 0, "after {end}");
    }
    assert_eq!(attempt(&app, None, "SELECT enter_org(NULL)").await, Err(SqlState::NULL_VALUE_NOT_ALLOWED));
}

/// D3: foreign keys contain the org, so no row can refer to another org's agent, lead or call, whatever role writes it.
#[tokio::test]
async fn no_row_refers_to_another_orgs() {
    let (database, acme, other) = two_orgs().await;
    let client = database.superuser().await;
    for (table, column, of, constraint) in [
        ("call_logs", "agent_id", "agents", "call_logs_agent_fkey"),
        ("call_logs", "lead_id", "leads", "call_logs_lead_fkey"),
        ("call_tracking", "agent_id", "agents", "call_tracking_agent_fkey"),
        ("call_tracking", "lead_id", "leads", "call_tracking_lead_fkey"),
        ("calls", "id", "call_logs", "calls_call_log_fkey"),
        ("call_transcripts", "call_log_id", "call_logs", "call_transcripts_call_log_fkey"),
        ("recording_upload_queue", "call_log_id", "call_logs", "recording_upload_queue_call_log_fkey"),
    ] {
        let refer = |org| {
            format!(
                "UPDATE {table} SET {column} = (SELECT id FROM {of} WHERE org_id = '{org}') WHERE org_id = '{acme}'"
            )
        };
        assert_eq!(client.execute(&refer(acme), &[]).await.unwrap(), 1, "{constraint}: to its own");
        // Two rows of `calls` cannot have the same id, so for that table the other org's row is deleted first.
        client.batch_execute(&format!("BEGIN; DELETE FROM calls WHERE org_id = '{other}'")).await.unwrap();
        assert_eq!(violated(client.execute(&refer(other), &[]).await), format!("23503 {constraint}"));
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}

/// D3, A5: the SQL functions that can be called on their own refuse another org's agent and lead with the name of the
/// foreign key, and write nothing.
#[tokio::test]
async fn a_call_cannot_be_created_with_another_orgs_agent_or_lead() {
    let (database, acme, other) = two_orgs().await;
    let app = database.client("ringfence_app").await;
    let before = (database.everything_of(acme).await, database.everything_of(other).await);
    for (argument, of, constraint) in [(3, "agents", "call_logs_agent_fkey"), (5, "leads", "call_logs_lead_fkey")] {
        let id = database.text(&format!("SELECT id FROM {of} WHERE org_id = '{other}'")).await.unwrap();
        let mut arguments =
            [format!("'{acme}'"), "'call'".into(), "NULL".into(), "NULL".into(), "NULL".into(), "NULL".into()];
        arguments[argument - 1] = format!("'{id}'");
        let create =
            format!("SELECT success, error_message FROM create_inbound_call_atomically({})", arguments.join(", "));
        let row = app.query_one(&create, &[]).await.unwrap();
        let found: (bool, String) = (row.get(0), row.get(1));
        assert_eq!(found, (false, format!("SQLSTATE 23503, constraint {constraint}")));
    }
    assert_eq!((database.everything_of(acme).await, database.everything_of(other).await), before);
}

/// A6, A8 (NULL org rejected): no row without an org can exist, by INSERT or by UPDATE, as the superuser or as the
/// owner. The error names the constraint.
#[tokio::test]
async fn a_row_without_an_org_is_refused_by_name() {
    let (database, ..) = two_orgs().await;
    let client = database.superuser().await;
    for role in ["postgres", "ringfence_owner"] {
        client.batch_execute(&format!("SET ROLE {role}")).await.unwrap();
        for table in ["call_logs", "call_tracking", "calls", "recording_upload_queue"] {
            let expected = format!("23514 {table}_org_id_not_null");
            let insert = format!("INSERT INTO {table} (org_id, vapi_call_id) VALUES (NULL, 'call')");
            assert_eq!(violated(client.execute(&insert, &[]).await), expected, "INSERT as {role}");
            let update = format!("UPDATE {table} SET org_id = NULL");
            assert_eq!(violated(client.execute(&update, &[]).await), expected, "UPDATE as {role}");
            assert_eq!(database.count(&format!("{table} WHERE org_id IS NULL")).await, 0);
        }
    }
}

/// D3, B9: the functions' role cannot read data of several orgs: the directory, the routes, the unresolved events, and
/// the audit log.
#[tokio::test]
async fn the_functions_cannot_read_tables_of_all_orgs() {
    let (database, acme, _) = two_orgs().await;
    let app = database.client("ringfence_app").await;
    // In `organizations` each org can read only its own row, and only the beginning of its log.
    assert_eq!(attempt(&app, Some(acme), "SELECT id, log_start FROM organizations").await, Ok(1));
    assert_eq!(attempt(&app, None, "SELECT id FROM organizations").await, Ok(0));
    for statement in
        ["SELECT name FROM organizations", "UPDATE organizations SET log_start = '1'", "DELETE FROM organizations"]
    {
        assert_eq!(attempt(&app, Some(acme), statement).await, Err(denied()), "{statement}");
    }
    for table in ["platform_directory", "call_routes", "unresolved_events", "audit_log"] {
        for statement in [
            format!("SELECT FROM {table}"),
            format!("UPDATE {table} SET created_at = now()"),
            format!("DELETE FROM {table}"),
        ] {
            let statement = statement.replace("audit_log SET created_at", "audit_log SET at");
            assert_eq!(attempt(&app, Some(acme), &statement).await, Err(denied()), "{statement}");
        }
    }
    for function in ["create_organization_v1('x', 'x')", "apply_unresolved_event_v1(1)", "audit('x', 'x', NULL, 'x')"] {
        assert_eq!(attempt(&app, Some(acme), &format!("SELECT {function}")).await, Err(denied()), "{function}");
    }
}

/// D3: the functions can delete no event data except turns that were copied from a report, and never change a claim.
#[tokio::test]
async fn the_functions_can_delete_nothing() {
    const DELETABLE: &str = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
            AND has_table_privilege('ringfence_app', oid, 'DELETE, TRUNCATE, TRIGGER')";
    let (database, acme, _) = two_orgs().await;
    assert_eq!(database.text(DELETABLE).await, None);
    let app = database.client("ringfence_app").await;
    let transcripts = format!("call_transcripts WHERE org_id = '{acme}' AND source = 'transcript'");
    let before = database.count(&transcripts).await;
    assert!(before > 0);
    let call = database.text(&format!("SELECT vapi_call_id FROM {transcripts} LIMIT 1")).await.unwrap();
    let delete = format!("SELECT delete_turns_of_reports('{call}', '{{}}')");
    assert_eq!(attempt(&app, Some(acme), &delete).await, Ok(1));
    assert_eq!(database.count(&transcripts).await, before);
    for statement in [
        "DELETE FROM call_transcripts",
        "DELETE FROM call_logs",
        "TRUNCATE call_logs",
        "UPDATE processed_webhook_events SET event = '{}'",
    ] {
        assert_eq!(attempt(&app, Some(acme), statement).await, Err(denied()), "{statement}");
    }
}

/// D3: the functions that delete for the functions' role delete rows of the entered org only, and none without an org.
#[tokio::test]
async fn a_deletion_stays_in_the_entered_org() {
    let (database, acme, other) = two_orgs().await;
    let superuser = database.superuser().await;
    superuser
        .batch_execute(
            "UPDATE call_transcripts SET source = 'report'; UPDATE orphaned_objects SET first_deleted_at = now() - interval '25 hours'",
        )
        .await
        .unwrap();
    let app = database.client("ringfence_app").await;
    let call = format!("(SELECT vapi_call_id FROM call_logs WHERE org_id = '{other}')");
    let call = database.text(&format!("SELECT {call}")).await.unwrap();
    let since = database.text(&format!("SELECT since FROM call_rollups WHERE org_id = '{other}'")).await.unwrap();
    let deletions = [
        ("call_transcripts", format!("delete_turns_of_reports('{call}', '{{}}')")),
        ("live_connections", format!("delete_connections('{{{other}}}')")),
        ("partial_gates", format!("delete_partial_gates('{{{call}}}')")),
        ("call_rollups", format!("delete_call_rollups('hour', '{since}')")),
        ("orphaned_objects", format!("delete_orphaned_object('{other}/erased/mono')")),
    ];
    let before = database.everything_of(other).await;
    for (table, deletion) in &deletions {
        for org in [None, Some(acme)] {
            assert_eq!(attempt(&app, org, &format!("SELECT {deletion}")).await, Ok(1));
        }
        assert_eq!(database.everything_of(other).await, before, "{table}");
    }
    for (table, deletion) in &deletions {
        let rows = format!("{table} WHERE org_id = '{other}'");
        let found = database.count(&rows).await;
        assert_eq!(attempt(&app, Some(other), &format!("SELECT {deletion}")).await, Ok(1));
        assert!(database.count(&rows).await < found, "{table}: its own row is deleted");
    }
}

/// D3: the functions' role can block no table for all orgs, and has no place for data outside tenant isolation.
#[tokio::test]
async fn the_functions_can_lock_no_table_and_create_nothing() {
    const LOCKABLE: &str = "SELECT string_agg(relname, ' ') FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
            AND has_table_privilege('ringfence_app', oid, 'UPDATE, DELETE, TRUNCATE')";
    let (database, acme, _) = two_orgs().await;
    assert_eq!(database.text(LOCKABLE).await, None);
    let app = database.client("ringfence_app").await;
    for table in ["call_logs", "call_transcripts", "live_connections", "organizations", "processed_webhook_events"] {
        for mode in ["SHARE", "EXCLUSIVE", "ACCESS EXCLUSIVE"] {
            let lock = format!("LOCK TABLE {table} IN {mode} MODE");
            assert_eq!(attempt(&app, Some(acme), &lock).await, Err(denied()), "{lock}");
        }
    }
    for statement in [
        "CREATE TABLE public.mine (a int)",
        "CREATE TEMPORARY TABLE mine (a int)",
        "SELECT lo_create(0)",
        "SELECT lo_creat(-1)",
        "SELECT lo_from_bytea(0, 'x')",
        "CREATE SCHEMA mine",
    ] {
        assert_eq!(attempt(&app, Some(acme), statement).await, Err(denied()), "{statement}");
    }
}

/// D3, D8: no row can name the object of another org's recording, whatever role writes it.
#[tokio::test]
async fn no_row_names_another_orgs_object() {
    let (database, acme, other) = two_orgs().await;
    let client = database.superuser().await;
    let call = database.text(&format!("SELECT vapi_call_id FROM call_logs WHERE org_id = '{acme}'")).await.unwrap();
    let store = format!(
        "INSERT INTO recording_upload_queue (org_id, vapi_call_id, kind, state, storage_key, content_type, bytes, sha256, stored_at)
            VALUES ('{acme}', '{call}', 'video', 'stored', '{acme}/{call}/video', 'video/mp4', 1, '', now())"
    );
    client.execute(&store, &[]).await.unwrap();
    for (table, column, constraint) in [
        ("recording_upload_queue", "storage_key", "recording_upload_queue_storage_key_own"),
        ("orphaned_objects", "storage_key", "orphaned_objects_storage_key_own"),
        ("call_logs", "recording_storage_path", "call_logs_recording_storage_path_own"),
        ("calls", "recording_path", "calls_recording_path_own"),
    ] {
        let stored = if table == "recording_upload_queue" { "AND state = 'stored'" } else { "" };
        let name =
            |org: OrgId| format!("UPDATE {table} SET {column} = '{org}/{call}/video' WHERE org_id = '{acme}' {stored}");
        assert_eq!(client.execute(&name(acme), &[]).await.unwrap(), 1, "{table}: its own");
        assert_eq!(violated(client.execute(&name(other), &[]).await), format!("23514 {constraint}"));
    }
}

/// B9: entries of the audit log cannot be changed, by privilege for the operators and by trigger for all other roles.
#[tokio::test]
async fn the_audit_log_is_append_only() {
    let (database, acme, _) = two_orgs().await;
    let client = database.superuser().await;
    let log = "SELECT jsonb_agg(to_jsonb(l) ORDER BY id) FROM audit_log l";
    let before = database.text(log).await;
    let append_only = SqlState::from_code("RF007");
    for (role, refusal) in [("ringfence_ops", &denied()), ("ringfence_owner", &append_only), ("postgres", &append_only)]
    {
        client.batch_execute(&format!("SET ROLE {role}")).await.unwrap();
        for statement in ["UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log", "TRUNCATE audit_log"] {
            assert_eq!(attempt(&client, None, statement).await.as_ref(), Err(refusal), "{statement} as {role}");
        }
    }
    assert_eq!(database.text(log).await, before);
    client.batch_execute("SET ROLE ringfence_ops").await.unwrap();
    let append = format!("SELECT audit('somebody', 'test', '{acme}', 'subject')");
    assert_eq!(attempt(&client, None, &append).await, Ok(1));
    assert_ne!(database.text(log).await, before);
}

/// D3: other accounts of the database server cannot run any of Ringfence's functions.
#[tokio::test]
async fn the_public_can_run_none_of_our_functions() {
    const STRANGERS: &str = "SELECT p.oid::regprocedure::text FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace AND has_function_privilege('stranger', p.oid, 'EXECUTE')";
    let database = TestDatabase::new().await;
    assert!(database.count("pg_proc WHERE pronamespace = 'public'::regnamespace").await > 20);
    let client = database.superuser().await;
    // Never committed, because roles belong to the whole server.
    client.batch_execute("BEGIN; CREATE ROLE stranger").await.unwrap();
    let open: Vec<String> = client.query(STRANGERS, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(open, [""; 0]);
    client.batch_execute("SET LOCAL ROLE stranger").await.unwrap();
    let enter = format!("SELECT enter_org('{}')", uuid::Uuid::new_v4());
    assert_eq!(client.execute(&enter, &[]).await.unwrap_err().code(), Some(&denied()));
    client.batch_execute("ROLLBACK").await.unwrap();
}

/// E4: what operators enter has a limited length, whatever wrote it.
#[tokio::test]
async fn texts_of_operators_are_bounded() {
    let (database, acme, _) = two_orgs().await;
    let client = database.superuser().await;
    let long = format!("repeat('x', {})", 300_000);
    // Text that does not compress, because the limit of JSON is that of its stored form.
    let json =
        "(SELECT jsonb_build_object('a', string_agg(gen_random_uuid()::text, '')) FROM generate_series(1, 8000))";
    for (statement, constraint) in [
        (format!("UPDATE organizations SET name = {long}"), "organizations_name_length"),
        (format!("UPDATE agents SET name = {long} WHERE org_id = '{acme}'"), "agents_name_length"),
        (format!("UPDATE agents SET vapi_assistant_id = {long} WHERE org_id = '{acme}'"), "agents_ids_bounded"),
        (format!("UPDATE agents SET configuration = {json} WHERE org_id = '{acme}'"), "agents_configuration_bounded"),
        (format!("UPDATE leads SET name = {long} WHERE org_id = '{acme}'"), "leads_name_length"),
        (format!("UPDATE leads SET metadata = {json} WHERE org_id = '{acme}'"), "leads_metadata_bounded"),
        (format!("UPDATE vapi_credentials SET api_key = {long}"), "vapi_credentials_api_key_bounded"),
        (format!("SELECT audit({long}, 'test', '{acme}', 'subject')"), "audit_log_actor_length"),
        (format!("SELECT audit('ada', {long}, '{acme}', 'subject')"), "audit_log_entry_bounded"),
        (format!("SELECT audit('ada', 'test', '{acme}', {long})"), "audit_log_entry_bounded"),
        (format!("SELECT audit('ada', 'test', '{acme}', 'subject', {json})"), "audit_log_entry_bounded"),
        (format!("UPDATE admin_operations SET parameters = {json}"), "admin_operations_parameters_bounded"),
    ] {
        assert_eq!(violated(client.execute(&statement, &[]).await), format!("23514 {constraint}"));
    }
}
