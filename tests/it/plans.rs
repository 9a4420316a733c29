//! Plans of the statements inside the SQL functions, on tables that are large enough to show a bad plan.

use std::collections::BTreeMap;
use std::future::poll_fn;

use ringfence_harness::testing::TestDatabase;
use ringfence_harness::testing::call::{Call, delivery};
use ringfence_vapi::OrgId;
use serde_json::{Value, json};
use tokio::sync::{OnceCell, mpsc};
use tokio_postgres::{AsyncMessage, Client, NoTls};

/// Tables that grow with the orgs' calls, leads and agents.
const LARGE: [&str; 10] = [
    "agents",
    "call_logs",
    "call_routes",
    "call_tracking",
    "call_transcripts",
    "calls",
    "leads",
    "processed_webhook_events",
    "tool_executions",
    "tools",
];

/// Required indexes, with their tables.
const DEMANDED: [(&str, &str); 3] = [
    ("call_logs", "idx_call_logs_org_vapi_call_id"),
    ("call_tracking", "idx_call_tracking_org_vapi_call_id"),
    ("processed_webhook_events", "idx_processed_events_org_event"),
];

/// A database with 100 000 rows of two orgs, created once for all tests of this module.
struct Large {
    database: TestDatabase,
    org: OrgId,
}

async fn large() -> &'static Large {
    static LARGE: OnceCell<Large> = OnceCell::const_new();
    LARGE.get_or_init(make_large).await
}

/// Nine of ten rows belong to the first org. Each call has one event, since the planner's choice depends on the number
/// of rows.
async fn make_large() -> Large {
    let database = TestDatabase::new().await;
    let (org, other) = (database.org("Large").await, database.org("Small").await);
    let fill = format!(
        "SET session_replication_role = replica; -- no foreign key is checked row by row
        CREATE TEMPORARY TABLE numbers AS
            SELECT i, (CASE i % 10 WHEN 0 THEN '{other}' ELSE '{org}' END)::uuid AS org_id, 'call-' || i AS call,
                md5('call-' || i)::uuid AS id, '+1555' || lpad(i::text, 7, '0') AS phone,
                (ARRAY['status-update', 'transcript', 'end-of-call-report'])[1 + i % 3] AS event_type
            FROM generate_series(1, 100000) AS i;
        INSERT INTO agents (org_id, id, name, vapi_assistant_id, vapi_squad_id, vapi_phone_number_id, phone_number)
            SELECT org_id, id, 'Agent', 'assistant-' || i, 'squad-' || i, 'number-' || i, phone FROM numbers WHERE i <= 10000;
        INSERT INTO leads (org_id, id, phone) SELECT org_id, id, phone FROM numbers;
        INSERT INTO call_logs (id, org_id, vapi_call_id, status) SELECT id, org_id, call, 'in-progress' FROM numbers;
        INSERT INTO call_tracking (org_id, vapi_call_id, status) SELECT org_id, call, 'in-progress' FROM numbers;
        INSERT INTO calls (id, org_id, vapi_call_id, status) SELECT id, org_id, call, 'in-progress' FROM numbers;
        INSERT INTO call_routes (org_id, vapi_call_id) SELECT org_id, call FROM numbers;
        INSERT INTO call_transcripts (org_id, vapi_call_id, content_sha256, call_log_id, speaker, text)
            SELECT org_id, call, sha256(call::bytea), id, 'user', 'Yes.' FROM numbers;
        INSERT INTO processed_webhook_events (org_id, event_id, event_type, vapi_call_id, event, received_at)
            SELECT org_id, event_type || ':' || call || ':' || md5(call), event_type, call,
                jsonb_build_object('kind', 'call-started', 'call', jsonb_build_object('id', call)), now()
            FROM numbers;
        INSERT INTO tools (org_id, kind, name, endpoint, timeout_seconds, is_idempotent)
            SELECT org_id, 'tool', 'tool-' || i, 'https://tools.example.com/', 10, true FROM numbers WHERE i <= 10000;
        INSERT INTO tool_executions (org_id, execution_id, tool, claimed_by, lease_until)
            SELECT org_id, 'tool-calls:' || call || ':t1', 'tool-' || i, id, now() FROM numbers;"
    );
    let superuser = database.superuser().await;
    superuser.batch_execute(&fill).await.expect("the rows");
    // Later events of this call are its newest ones and merge into the rows. For the other calls, all events are folded.
    database.apply(org, &[known_call().status("queued", 0)]).await;
    // Statistics that autovacuum would collect at some later time.
    superuser.batch_execute("VACUUM ANALYZE").await.expect("the statistics");
    Large { database, org }
}

/// A session of the functions' role that reports the plan of every statement inside a function.
struct ExplainedSession {
    client: Client,
    notices: mpsc::UnboundedReceiver<String>,
}

impl ExplainedSession {
    async fn start(database: &TestDatabase, plan_cache_mode: &str) -> Self {
        let (client, mut connection) =
            tokio_postgres::connect(&database.url("postgres", None), NoTls).await.expect("a connection");
        let (sender, notices) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notice(notice) = message {
                    let _ = sender.send(notice.message().to_owned());
                }
            }
        });
        let session = format!(
            "LOAD 'auto_explain';
            SET auto_explain.log_level = notice;
            SET auto_explain.log_format = json;
            SET auto_explain.log_min_duration = 0;
            SET auto_explain.log_nested_statements = on;
            SET plan_cache_mode = {plan_cache_mode};
            SET ROLE ringfence_app;"
        );
        client.batch_execute(&session).await.expect("a session that explains");
        Self { client, notices }
    }

    /// Calls a function, rolls it back, and returns every access to a large table.
    async fn accesses(&mut self, call: &str) -> Vec<Access> {
        while self.notices.try_recv().is_ok() {}
        let result =
            self.client.query_one(&format!("SELECT to_jsonb(r)::text FROM {call} AS r"), &[]).await.expect(call);
        let answer: Value = serde_json::from_str(result.get(0)).expect("JSON");
        assert!(
            answer["success"] == true || answer["outcome"] == "applied" || answer["outcome"] == "known",
            "{call}: {answer}"
        );
        let mut accesses = Vec::new();
        while let Ok(notice) = self.notices.try_recv() {
            let Some((_, plan)) = notice.split_once("plan:\n") else { continue };
            let statement: Value = serde_json::from_str(plan).expect("a plan");
            // Query with which the server checks a foreign key.
            let for_key = statement["Query Text"].as_str().is_some_and(|text| text.starts_with("SELECT 1 FROM ONLY"));
            collect(&statement["Plan"], None, for_key, &mut accesses);
        }
        accesses.retain(|access| LARGE.contains(&access.table.as_str()));
        accesses
    }
}

/// A node of a plan that reads or writes a table.
#[derive(Debug, PartialEq, Eq)]
struct Access {
    table: String,
    node: String,
    /// Index that finds the rows, or that decides a conflict.
    index: Option<String>,
    for_key: bool,
}

fn collect(node: &Value, parent_table: Option<&str>, for_key: bool, accesses: &mut Vec<Access>) {
    let text = |field: &str| node[field].as_str();
    // A bitmap index scan names no table: its table is that of the parent node.
    let table = text("Relation Name").or(parent_table);
    let index = text("Index Name").or_else(|| node["Conflict Arbiter Indexes"][0].as_str());
    if let (Some(table), true) = (table, node["Relation Name"].is_string() || index.is_some()) {
        let kind = text("Operation").or_else(|| text("Node Type")).expect("a kind");
        accesses.push(Access {
            table: table.to_owned(),
            node: kind.to_owned(),
            index: index.map(str::to_owned),
            for_key,
        });
    }
    let below = if text("Node Type") == Some("ModifyTable") { None } else { table };
    for child in node["Plans"].as_array().into_iter().flatten() {
        collect(child, below, for_key, accesses);
    }
}

/// An existing call of the first org, with its lead and its agent.
fn known_call() -> Call {
    Call {
        id: "call-4711".to_owned(),
        customer: Some("+15550004711".to_owned()),
        assistant: Some("assistant-4711".to_owned()),
        phone_number_id: Some("number-4711".to_owned()),
        phone_number: Some("+15550004711".to_owned()),
        ..Call::default()
    }
}

/// Each function with arguments that make it run all of its statements.
fn calls(org: OrgId) -> Vec<(&'static str, String)> {
    let call = known_call();
    let new_call = Call { id: "call-of-nobody-yet".to_owned(), ..call.clone() };
    let unfolded_call = Call { id: "call-4713".to_owned(), ..call.clone() };
    let apply = |body: &Value| {
        let delivery = delivery(org, body);
        let event = serde_json::to_string(&delivery.event).expect("JSON").replace('\'', "''");
        format!("apply_event_v1('{org}', 1, '{}', '{event}', now())", delivery.key)
    };
    let platform = apply(&call.status("in-progress", 5)).replacen(&format!("'{org}', 1"), "NULL, NULL", 1);
    let facts = serde_json::to_string(delivery(org, &call.status("ringing", 6)).event.call()).expect("JSON");
    let find = |message: &str| format!("find_answer_v1('{org}', 1, '{message}', '{facts}', now())");
    let claim = |execution: &str| {
        let wanted = json!([{"execution_id": execution, "tool": "tool-4711"}]);
        format!("claim_tool_calls_v1('{org}', 1, '{facts}', '{{a.hash}}', '{wanted}', now(), '{org}')")
    };
    vec![
        ("find_answer_v1, assistant", find("assistant-request")),
        ("find_answer_v1, inquiry", find("transfer-destination-request")),
        ("claim_tool_calls_v1, new", claim("tool-calls:call-4711:t2")),
        ("claim_tool_calls_v1, lease over", claim("tool-calls:call-4711:t1")),
        (
            "finish_tool_call_v1",
            format!(
                "finish_tool_call_v1('{org}', 'tool-calls:call-4712:t1', md5('call-4712')::uuid, '{{\"outcome\": \"known\"}}', NULL)"
            ),
        ),
        ("apply_event_v1, status update", apply(&call.status("in-progress", 1))),
        ("apply_event_v1, status update, first event", apply(&new_call.status("in-progress", 1))),
        ("apply_event_v1, status update, platform", platform),
        ("apply_event_v1, status update, all events folded", apply(&unfolded_call.status("in-progress", 1))),
        ("apply_event_v1, ended", apply(&call.status("ended", 2))),
        ("apply_event_v1, report", apply(&call.report(3, json!({})))),
        ("apply_event_v1, transcript", apply(&call.transcript("Yes.", 4))),
        ("apply_event_v1, transcript, first event", apply(&new_call.transcript("Yes.", 4))),
        ("apply_event_v1, timeline event", apply(&call.message("hang", 5, json!({})))),
        (
            "create_inbound_call_atomically",
            format!("create_inbound_call_atomically('{org}', 'call-4712', NULL, '+15550004712', NULL, '{{}}')"),
        ),
        (
            "update_call_completed_atomically",
            format!("update_call_completed_atomically('{org}', 'call-4713', 42, NULL)"),
        ),
        (
            "update_call_with_recording_atomically",
            format!("update_call_with_recording_atomically('{org}', 'call-4714', NULL, 'a/b.wav', 'Yes.', 'webCall')"),
        ),
    ]
}

/// Accesses of every function, by name.
async fn plans(plan_cache_mode: &str) -> BTreeMap<&'static str, Vec<Access>> {
    let large = large().await;
    let mut session = ExplainedSession::start(&large.database, plan_cache_mode).await;
    let mut plans = BTreeMap::new();
    for (name, call) in calls(large.org) {
        session.client.batch_execute("BEGIN").await.expect("a transaction");
        plans.insert(name, session.accesses(&call).await);
        session.client.batch_execute("ROLLBACK").await.expect("a rollback");
    }
    plans
}

fn assert_demanded_indexes_are_used(plans: &BTreeMap<&str, Vec<Access>>) {
    for (function, accesses) in plans {
        for access in accesses {
            assert_ne!(access.node, "Seq Scan", "{function} reads all of {}", access.table);
            let demanded = DEMANDED.iter().find(|(table, _)| *table == access.table && !access.for_key);
            // Nodes without an index are parents of a node with one.
            if let (Some((_, demanded)), Some(index)) = (demanded, &access.index) {
                assert_eq!(index, demanded, "{function}");
            }
        }
    }
    for (table, index) in DEMANDED {
        let users = plans.values().flatten().filter(|access| access.index.as_deref() == Some(index));
        assert!(users.count() > 5, "{index} on {table} is used");
    }
}

fn shape(plans: &BTreeMap<&str, Vec<Access>>) -> String {
    let mut lines = Vec::new();
    for (function, accesses) in plans {
        lines.push(format!("{function}:"));
        for Access { table, node, index, .. } in accesses.iter().filter(|access| !access.for_key) {
            let index = index.as_ref().map(|index| format!(" ({index})")).unwrap_or_default();
            lines.push(format!("  {node} {table}{index}"));
        }
    }
    lines.join("\n")
}

/// A6, A8 ("the indexes exist"): according to the catalog, with their columns, unique and valid.
#[tokio::test]
async fn the_indexes_exist() {
    let database = TestDatabase::new().await;
    let query = "SELECT c.relname || ' on ' || i.indrelid::regclass || ' (' || string_agg(a.attname, ', ' ORDER BY a.attnum) || ')'
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relname LIKE 'idx%' AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
        GROUP BY c.relname, i.indrelid ORDER BY 1";
    let rows = database.superuser().await.query(query, &[]).await.unwrap();
    let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        found,
        [
            "idx_call_logs_org_vapi_call_id on call_logs (org_id, vapi_call_id)",
            "idx_call_tracking_org_vapi_call_id on call_tracking (org_id, vapi_call_id)",
            "idx_processed_events_org_event on processed_webhook_events (org_id, event_id)",
        ]
    );
}

/// A6, A8 ("the indexes are used"): in the custom plans of a new connection, which use the values.
#[tokio::test]
async fn the_indexes_are_used_by_plans_for_one_call() {
    assert_demanded_indexes_are_used(&plans("force_custom_plan").await);
}

/// A6, A8 ("the indexes are used"): in the generic plans of a warm connection, which do not use the values. The
/// functions' role uses generic plans only.
#[tokio::test]
async fn cached_plans_use_the_indexes() {
    let app = large().await.database.client("ringfence_app").await;
    let mode: String = app.query_one("SHOW plan_cache_mode", &[]).await.unwrap().get(0);
    assert_eq!(mode, "force_generic_plan");
    let plans = plans("force_generic_plan").await;
    assert_demanded_indexes_are_used(&plans);
    insta::assert_snapshot!(shape(&plans));
}

/// Numbers are counted per hour by an index, without reading all calls of an org.
#[tokio::test]
async fn hours_are_counted_without_reading_all_calls() {
    let large = large().await;
    let mut session = ExplainedSession::start(&large.database, "force_generic_plan").await;
    session.client.batch_execute("BEGIN").await.expect("a transaction");
    let hours = "ARRAY(SELECT date_trunc('hour', now()) - make_interval(hours => h) FROM generate_series(0, 9) AS h)";
    let (entered, counted) =
        (format!("enter_org('{}')", large.org), format!("rebuild_call_rollups('{}', {hours})", large.org));
    let call = format!("(SELECT true AS success, {entered}::text AS entered, {counted}::text AS counted)");
    let accesses = session.accesses(&call).await;
    session.client.batch_execute("ROLLBACK").await.expect("a rollback");
    let nodes: Vec<&str> = accesses.iter().filter(|of| of.table == "call_logs").map(|of| of.node.as_str()).collect();
    assert!(nodes.len() >= 10 && !nodes.contains(&"Seq Scan"), "{nodes:?}");
}
