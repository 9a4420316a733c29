//! Round trips between the functions and `PostgreSQL`, and session state that remains on shared connections.

use std::sync::Arc;

use ringfence_core::{Database, Outcome, apply_event};
use ringfence_harness::testing::call::delivery_with;
use ringfence_harness::testing::database::apply;
use ringfence_harness::testing::endpoint::Manner;
use ringfence_harness::testing::webhook::Reply;
use ringfence_harness::testing::{Call, PgBouncer, Proxy, TestDatabase, TestEndpoint, TestQueues, TestWebhook, sample};
use ringfence_protocol::Credential;
use ringfence_protocol::admin::{Tool, ToolKind};
use ringfence_vapi::OrgId;
use serde_json::{Value, json};
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// One message for each of the five event functions.
fn one_of_each(call: &Call) -> [Value; 5] {
    [
        call.status("in-progress", 0),
        call.message("hang", 1_000, json!({})),
        call.transcript("A visit, please.", 2_000),
        call.status("ended", 3_000),
        call.report(4_000, json!({})),
    ]
}

/// Sender of a webhook.
#[derive(Clone, Copy, Debug)]
enum Sender {
    Org(OrgId),
    Platform,
}

impl Sender {
    async fn post(self, webhook: &TestWebhook, body: &Value) -> Reply {
        match self {
            Self::Org(org) => webhook.post(org, body).await,
            Self::Platform => webhook.post_platform(body).await,
        }
    }
}

/// Posts a body and expects one round trip on each of the connections, and no open transaction.
async fn assert_one_round_trip(
    database: &TestDatabase,
    wires: &[&Proxy],
    webhook: &TestWebhook,
    sender: Sender,
    body: &Value,
) {
    for wire in wires {
        let _ = wire.take_round_trips();
    }
    let what = format!("{sender:?} {}", body["message"]["type"]);
    assert_eq!(sender.post(webhook, body).await.status, 200, "{what}");
    for wire in wires {
        assert_eq!(wire.take_round_trips(), 1, "{what}");
    }
    assert_eq!(left_open(database).await, 0, "{what}");
}

/// Number of connections of the functions' role with an open transaction.
async fn left_open(database: &TestDatabase) -> i64 {
    let open = "pg_stat_activity WHERE datname = current_database() AND usename = 'ringfence_app' AND state <> 'idle'";
    database.count(open).await
}

/// Each of the five functions, applied and duplicate, for an org key and the platform key, over a warm connection.
async fn assert_one_round_trip_each(at: &str, wires: &[&Proxy], database: &TestDatabase) {
    let org = database.org("One round trip").await;
    let call = Call { assistant: Some("assistant-of-one-round-trip".to_owned()), ..Call::default() };
    database.agent(org, call.assistant.as_deref().unwrap()).await;
    let webhook = TestWebhook::new(database.app_at(Some(at)), &TestQueues::new().await);
    assert_eq!(webhook.post(org, &Call::default().status("ringing", 0)).await.status, 200);

    for sender in [Sender::Org(org), Sender::Platform] {
        let call = Call { id: uuid::Uuid::new_v4().to_string(), ..call.clone() };
        let claims = format!("processed_webhook_events WHERE vapi_call_id = '{}'", call.id);
        for body in one_of_each(&call) {
            assert_one_round_trip(database, wires, &webhook, sender, &body).await;
        }
        assert_eq!(database.count(&claims).await, 5, "applied");
        for body in one_of_each(&call) {
            assert_one_round_trip(database, wires, &webhook, sender, &body).await;
        }
        assert_eq!(database.count(&claims).await, 5, "duplicates");
    }
    for wire in wires {
        assert_eq!(wire.connections(), 1, "a second connection would hide a second round trip");
    }
}

/// D4: claim, effects and viewers take one round trip, for every event, credential and outcome.
#[tokio::test]
async fn every_stored_event_is_one_round_trip() {
    let database = TestDatabase::new().await;
    let wire = Proxy::start().await;
    assert_one_round_trip_each(&wire.address, &[&wire], &database).await;
}

/// D4: the pooler receives one round trip, and so does the server behind it.
#[tokio::test]
async fn every_stored_event_is_one_round_trip_through_a_transaction_pooler() {
    let database = TestDatabase::new().await;
    let behind = Proxy::start().await;
    let pooler = PgBouncer::start_before(&behind.address, 1);
    let before = Proxy::start_before(pooler.address.clone()).await;
    assert_one_round_trip_each(&before.address, &[&before, &behind], &database).await;
}

/// D4, D13: an unresolved event is stored in one round trip, too.
#[tokio::test]
async fn an_event_of_an_unknown_org_is_one_round_trip() {
    let database = TestDatabase::new().await;
    let wire = Proxy::start().await;
    let webhook = TestWebhook::new(database.app_at(Some(&wire.address)), &TestQueues::new().await);
    assert_eq!(webhook.post_platform(&Call::default().status("ringing", 0)).await.status, 200);

    for body in one_of_each(&Call::default()) {
        assert_one_round_trip(&database, &[&wire], &webhook, Sender::Platform, &body).await;
    }
    assert_eq!(database.count("unresolved_events").await, 6);
}

/// D4, D6: agent, lead and endpoint are found in one round trip. A tool call is claimed in one and its result stored in
/// another.
#[tokio::test]
async fn questions_and_tool_calls_are_one_round_trip() {
    let database = TestDatabase::new().await;
    let wire = Proxy::start().await;
    let webhook = TestWebhook::new(database.app_at(Some(&wire.address)), &TestQueues::new().await);
    let org = database.org("Acme").await;
    database.lead(org, "+15555550142").await;
    assert_eq!(webhook.post(org, &Call::default().status("ringing", 0)).await.status, 200);
    for name in ["assistant-request.inbound-twilio", "transfer-destination-request", "tool-calls.multiple"] {
        assert_one_round_trip(&database, &[&wire], &webhook, Sender::Org(org), &sample(name)).await;
    }
    let endpoint = TestEndpoint::start(Manner::Answers(json!({"result": "Booked"}))).await;
    let tool = Tool {
        kind: ToolKind::Tool,
        name: "book_appointment".to_owned(),
        endpoint: endpoint.url.clone(),
        timeout_seconds: 10,
        is_idempotent: false,
    };
    database.admin().await.set_tool(org, &tool).await.unwrap();
    for round_trips in [2, 1] {
        let _ = wire.take_round_trips();
        assert_eq!(webhook.post(org, &sample("tool-calls.single")).await.status, 200);
        assert_eq!(wire.take_round_trips(), round_trips);
    }
    assert_eq!(endpoint.requests().len(), 1);
}

/// D4, D5: a revoked key is detected in the same round trip, and no transaction remains open.
#[tokio::test]
async fn a_revoked_key_is_one_round_trip() {
    let database = TestDatabase::new().await;
    let org = database.org("Revoked").await;
    database.superuser().await.execute("UPDATE organization_keys SET valid_until = now()", &[]).await.unwrap();
    let wire = Proxy::start().await;
    let webhook = TestWebhook::new(database.app_at(Some(&wire.address)), &TestQueues::new().await);
    assert_eq!(webhook.post(org, &Call::default().status("ringing", 0)).await.status, 401);

    let _ = wire.take_round_trips();
    assert_eq!(webhook.post(org, &Call::default().status("ringing", 0)).await.status, 401);
    assert_eq!(wire.take_round_trips(), 1);
    assert_eq!(left_open(&database).await, 0);
}

/// D4: the answer contains the org's active viewers, and no others.
#[tokio::test]
async fn the_one_answer_names_the_orgs_viewers() {
    let database = TestDatabase::new().await;
    let (org, other) = (database.org("Watched").await, database.org("Other").await);
    let statement = format!(
        "INSERT INTO live_connections (connection_id, org_id, state, expires_at) VALUES
            ('active', '{org}', 'active', 'infinity'), ('pending', '{org}', 'pending', 'infinity'),
            ('gone', '{org}', 'active', now()), ('foreign', '{other}', 'active', 'infinity')"
    );
    database.superuser().await.batch_execute(&statement).await.unwrap();
    let wire = Proxy::start().await;
    let functions = database.app_at(Some(&wire.address));
    apply(&functions, org, &Call::default().status("ringing", 0)).await;

    for body in one_of_each(&Call::default()) {
        let _ = wire.take_round_trips();
        let outcome = apply(&functions, org, &body).await;
        assert_eq!(wire.take_round_trips(), 1);
        let Outcome::Applied { viewers, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(viewers, ["active".to_owned().into()]);
    }
}

/// D4, D3: many events of two orgs over few server connections: all are applied to their own org, and no session state
/// remains.
#[tokio::test(flavor = "multi_thread")]
async fn two_orgs_share_a_pooler_and_nothing_leaks_between_their_transactions() {
    for connections in [1, 2] {
        let database = TestDatabase::new().await;
        let behind = Proxy::start().await;
        let pooler = PgBouncer::start_before(&behind.address, connections);
        let orgs = [database.org("One").await, database.org("Other").await];

        let calls = post_calls_at_once(&database, &pooler, orgs).await;
        for (org, call) in &calls {
            assert_call_is_whole(&database, *org, call).await;
        }
        assert_eq!(database.count("call_logs").await, 16);
        assert_eq!(database.count("processed_webhook_events").await, 16 * 5);
        assert!((1..=connections).contains(&behind.connections()), "{} connections", behind.connections());
        assert_eq!(left_open(&database).await, 0);
        assert_nothing_left_behind(&database, &pooler).await;
    }
}

/// Eight clients for each org, each with a separate call whose events it sends twice. Every other client uses the
/// platform key, so that the statement itself enters the org.
async fn post_calls_at_once(database: &TestDatabase, pooler: &PgBouncer, orgs: [OrgId; 2]) -> Vec<(OrgId, Call)> {
    let mut clients = tokio::task::JoinSet::new();
    for (index, org) in orgs.into_iter().enumerate() {
        let assistant = format!("assistant-{index}");
        database.agent(org, &assistant).await;
        for number in 0..8 {
            let call = Call { assistant: Some(assistant.clone()), ..Call::default() };
            let credential = match number % 2 {
                0 => Credential::Org { org_id: org, key_version: 1 },
                _ => Credential::Platform,
            };
            let functions = database.app_at(Some(&pooler.address));
            clients.spawn(post_call_twice(functions, credential, org, call));
        }
    }
    clients.join_all().await
}

async fn post_call_twice(functions: Arc<Database>, credential: Credential, org: OrgId, call: Call) -> (OrgId, Call) {
    for body in one_of_each(&call) {
        for repeated in [false, true] {
            let outcome = apply_with(&functions, credential, &body).await;
            match outcome {
                Outcome::Applied { org_id, .. } => assert!(!repeated && org_id == org),
                Outcome::Duplicate { org_id } => assert!(repeated && org_id == org),
                other => panic!("{other:?}"),
            }
        }
    }
    (org, call)
}

async fn apply_with(functions: &Database, credential: Credential, body: &Value) -> Outcome {
    apply_event(functions, &delivery_with(credential, body)).await.expect("applied")
}

async fn assert_call_is_whole(database: &TestDatabase, org: OrgId, call: &Call) {
    let of_call = format!("org_id = '{org}' AND vapi_call_id = '{}'", call.id);
    for (rows, count) in [
        ("call_logs WHERE status = 'completed' AND duration_seconds = 17 AND agent_id IS NOT NULL AND ", 1),
        ("call_tracking WHERE status = 'completed' AND answered AND ", 1),
        ("calls WHERE status = 'completed' AND recording_state = 'linked' AND ", 1),
        ("call_transcripts WHERE text = 'A visit, please.' AND ", 1),
        ("processed_webhook_events WHERE ", 5),
    ] {
        assert_eq!(database.count(&format!("{rows}{of_call}")).await, count, "{rows}");
    }
}

/// Checks the server connections as the next client finds them: no org entered, no row visible, no prepared statement.
async fn assert_nothing_left_behind(database: &TestDatabase, pooler: &PgBouncer) {
    let backends = pooled_backends(database).await;
    let url = database.url("ringfence_app", Some(&pooler.address));
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let query = "SELECT pg_backend_pid(), coalesce(current_setting('ringfence.org_id', true), ''),
        (SELECT count(*) FROM call_logs), (SELECT count(*) FROM pg_prepared_statements)";
    for message in client.simple_query(query).await.unwrap() {
        let SimpleQueryMessage::Row(row) = message else { continue };
        assert!(backends.iter().any(|pid| row.get(0) == Some(pid)), "a connection that served the orgs");
        assert_eq!([row.get(1), row.get(2), row.get(3)], [Some(""), Some("0"), Some("0")]);
    }
}

async fn pooled_backends(database: &TestDatabase) -> Vec<String> {
    let query =
        "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND usename = 'ringfence_app'";
    database.superuser().await.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}
