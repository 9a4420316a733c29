//! Platform URL: one key for all orgs. Each event finds its org by the registered ids.

use std::time::Instant;

use ringfence_core::apply_event;
use ringfence_harness::testing::call::delivery_with;
use ringfence_harness::testing::{Call, TestDatabase, TestQueues, TestWebhook, eventually};
use ringfence_protocol::Credential;
use ringfence_protocol::admin::{Command, NewAgent, Resolved};
use ringfence_vapi::{FailureCode, Function, OrgId};
use serde_json::{Value, json};

const ASSISTANT: &str = "4dac6abb-472a-4a1d-8f6c-c2ed74e2cf44";
const NUMBER: &str = "+15555550100";

/// A webhook function with a fresh database of two orgs.
async fn open() -> (TestDatabase, TestWebhook, OrgId, OrgId) {
    let database = TestDatabase::new().await;
    let webhook = TestWebhook::new(database.app(), &TestQueues::new().await);
    let (acme, other) = (database.org("Acme").await, database.org("Other").await);
    (database, webhook, acme, other)
}

/// A call with only these ids.
fn call(assistant: Option<&str>, number: Option<&str>) -> Call {
    Call { assistant: assistant.map(str::to_owned), phone_number: number.map(str::to_owned), ..Call::default() }
}

fn agent(assistant: Option<&str>, number: Option<&str>) -> NewAgent {
    NewAgent {
        name: "Front desk".to_owned(),
        role: "inbound".to_owned(),
        assistant_id: assistant.map(str::to_owned),
        phone_number: number.map(str::to_owned),
        ..NewAgent::default()
    }
}

/// Posts to the platform URL, which acknowledges every event.
async fn post(webhook: &TestWebhook, body: &Value) {
    let reply = webhook.post_platform(body).await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, "{}"));
}

/// Orgs that have rows of a call.
async fn orgs_of(database: &TestDatabase, call: &Call) -> Option<String> {
    let query = format!("SELECT string_agg(org_id::text, ' ') FROM call_logs WHERE vapi_call_id = '{}'", call.id);
    database.text(&query).await
}

/// D13: an unresolved event is stored, and is applied when `agent add` registers an id that it names. The audit log
/// records the action.
#[tokio::test]
async fn an_unresolved_event_is_stored_and_applied_when_its_agent_is_added() {
    let (database, webhook, acme, _) = open().await;
    let call = call(Some(ASSISTANT), None);
    let bodies = [call.status("in-progress", 0), call.transcript("A visit.", 5_000), call.report(60_000, json!({}))];
    for body in &bodies {
        post(&webhook, body).await;
        post(&webhook, body).await;
    }
    post(&webhook, &call.message("hang", 6_000, json!({}))).await;
    post(&webhook, &call.status("ended", 21_300)).await;
    assert_eq!(database.count("unresolved_events WHERE code = 'RF5001'").await, 5);
    assert_eq!(database.count("call_logs").await + database.count("processed_webhook_events").await, 0);

    let added = database.admin().await.add_agent(acme, &agent(Some(ASSISTANT), None)).await.unwrap();
    assert_eq!(added.events, Resolved { applied: 5, failed: 0, more: false });
    assert_eq!(database.count("unresolved_events").await, 0);
    assert_eq!(database.count(&format!("processed_webhook_events WHERE org_id = '{acme}'")).await, 5);
    let found = "SELECT concat_ws(' ', l.status, l.duration_seconds, l.cost, t.answered, c.reason_family,
            (SELECT text FROM call_transcripts), l.agent_id)
        FROM call_logs l JOIN call_tracking t USING (org_id, vapi_call_id) JOIN calls c USING (org_id, vapi_call_id)";
    let expected = format!("completed 17 0.037 t customer-ended A visit. {}", added.id);
    assert_eq!(database.text(found).await, Some(expected));
    let audited = format!("audit_log WHERE action = 'agent.add' AND org_id = '{acme}' AND subject = '{}'", added.id);
    assert_eq!(database.count(&audited).await, 1);

    // A later redelivery is a duplicate.
    let before = database.everything_of(acme).await;
    post(&webhook, &bodies[2]).await;
    assert_eq!(database.everything_of(acme).await, before);
}

/// D13: an agent with other ids does not resolve the event.
#[tokio::test]
async fn an_unresolved_event_waits_for_its_agent() {
    let (database, webhook, acme, _) = open().await;
    let call = call(Some(ASSISTANT), None);
    post(&webhook, &call.status("ended", 0)).await;
    let added = database.admin().await.add_agent(acme, &agent(Some("another"), Some(NUMBER))).await.unwrap();
    assert_eq!(added.events, Resolved::default());
    assert_eq!(database.count("unresolved_events").await, 1);
    assert_eq!(orgs_of(&database, &call).await, None);
}

/// D13, E8: unresolved events are applied in pages, within the time of the command. The schedule applies the rest, and
/// events of other assistants are not touched.
#[tokio::test]
async fn many_unresolved_events_are_applied_in_pages() {
    let (database, webhook, acme, _) = open().await;
    post(&webhook, &call(Some(ASSISTANT), None).status("ended", 0)).await;
    post(&webhook, &call(Some("another"), None).status("ended", 0)).await;
    let copies = "INSERT INTO unresolved_events (event_id, vapi_call_id, code, event, received_at)
        SELECT 'hang:copy-' || n || ':1', 'copy-' || n, code, event || jsonb_build_object('kind', 'call-event',
            'event_type', 'hang', 'call', event -> 'call' || jsonb_build_object('id', 'copy-' || n)), received_at
        FROM unresolved_events, generate_series(1, 300) AS n WHERE event #>> '{call,assistant_id}' <> 'another'";
    database.superuser().await.batch_execute(copies).await.unwrap();
    let directory =
        format!("INSERT INTO platform_directory (kind, ref, org_id) VALUES ('assistant', '{ASSISTANT}', '{acme}')");
    database.superuser().await.batch_execute(&directory).await.unwrap();

    let admin = database.admin().await;
    let page = admin.apply_unresolved(None, Instant::now()).await.unwrap();
    assert_eq!(page, Resolved { applied: 200, failed: 0, more: true });
    let queues = TestQueues::with_bucket().await;
    let administration = crate::administration::administration(&database.url("postgres", None), &queues);
    administration.perform(Command::ContinueOperations {}).await.unwrap();
    assert_eq!(database.count("processed_webhook_events").await, 301);
    assert_eq!(database.count("unresolved_events WHERE event #>> '{call,assistant_id}' = 'another'").await, 1);
    assert_eq!(database.count("unresolved_events").await, 1);
    // An hour after the registration, the schedule does not search for its events any more.
    let old = "UPDATE platform_directory SET created_at = now() - interval '61 minutes', ref = 'another'";
    database.superuser().await.batch_execute(old).await.unwrap();
    let later = admin.apply_unresolved(None, Instant::now()).await.unwrap();
    assert_eq!(later, Resolved::default());
}

/// D13: phone number id, number, assistant and squad each resolve to the org that registered them.
#[tokio::test]
async fn each_registered_id_leads_to_its_org() {
    let (database, webhook, acme, _) = open().await;
    let everything = NewAgent {
        squad_id: Some("squad-1".to_owned()),
        phone_number_id: Some("number-1".to_owned()),
        ..agent(Some(ASSISTANT), Some(NUMBER))
    };
    database.admin().await.add_agent(acme, &everything).await.unwrap();
    let nothing = call(None, None);
    let squad = json!({"call": {"id": "of-a-squad", "squadId": "squad-1"}});
    for (named, body) in [
        (
            "phone number id",
            Call { phone_number_id: Some("number-1".to_owned()), ..nothing.clone() }.status("ended", 0),
        ),
        ("number", call(None, Some(NUMBER)).status("ended", 0)),
        ("assistant", call(Some(ASSISTANT), None).status("ended", 0)),
        ("squad", nothing.message("hang", 0, squad)),
    ] {
        post(&webhook, &body).await;
        let id = body["message"]["call"]["id"].as_str().unwrap();
        let claimed = format!("processed_webhook_events WHERE org_id = '{acme}' AND vapi_call_id = '{id}'");
        assert_eq!(database.count(&claimed).await, 1, "{named}");
    }
    assert_eq!(database.count("unresolved_events").await, 0);
}

/// D13: an event that names ids of two orgs is unresolved (RF5002) and in no org's rows.
#[tokio::test]
async fn an_event_that_names_two_orgs_is_unresolved() {
    let (database, webhook, acme, other) = open().await;
    let admin = database.admin().await;
    admin.add_agent(acme, &agent(None, Some(NUMBER))).await.unwrap();
    admin.add_agent(other, &agent(Some(ASSISTANT), None)).await.unwrap();
    let call = call(Some(ASSISTANT), Some(NUMBER));
    post(&webhook, &call.status("ended", 0)).await;
    assert_eq!(database.count("unresolved_events WHERE code = 'RF5002'").await, 1);
    assert_eq!(orgs_of(&database, &call).await, None);
    assert_eq!(database.count("call_routes").await, 0);

    // The registration of a third id does not resolve it either.
    assert_eq!(admin.add_agent(acme, &agent(Some("third"), None)).await.unwrap().events, Resolved::default());
    assert_eq!(database.count("unresolved_events").await, 1);
}

/// D13: a call remains with the org of its first event. Later events may name nothing, or an id of another org.
#[tokio::test]
async fn later_events_follow_the_calls_route() {
    let (database, webhook, acme, other) = open().await;
    let admin = database.admin().await;
    admin.add_agent(acme, &agent(None, Some(NUMBER))).await.unwrap();
    admin.add_agent(other, &agent(Some(ASSISTANT), None)).await.unwrap();
    let first = call(None, Some(NUMBER));
    let same_call = |assistant, number| Call { id: first.id.clone(), ..call(assistant, number) };
    post(&webhook, &first.status("ringing", 0)).await;
    for (count, body) in (2..).zip([
        same_call(None, None).status("in-progress", 1_000),
        same_call(Some(ASSISTANT), None).transcript("A visit.", 2_000),
        same_call(Some(ASSISTANT), Some(NUMBER)).status("ended", 3_000),
        json!({"message": {"type": "end-of-call-report", "cost": 1, "call": {"id": first.id}}}),
    ]) {
        post(&webhook, &body).await;
        assert_eq!(database.count(&format!("processed_webhook_events WHERE org_id = '{acme}'")).await, count, "{body}");
    }
    assert_eq!(orgs_of(&database, &first).await, Some(acme.to_string()));
    assert_eq!(database.count("unresolved_events").await, 0);
}

/// D2, D13: unresolved events of a call are applied together with the first event that names its org, in the same
/// statement, whatever their type. The rows are those of the same events in chronological order.
#[tokio::test]
async fn an_event_that_names_its_org_applies_the_calls_unresolved_events() {
    let (database, webhook, acme, other) = open().await;
    let admin = database.admin().await;
    admin.add_agent(acme, &agent(None, Some(NUMBER))).await.unwrap();
    admin.add_agent(other, &agent(None, Some("+15555550101"))).await.unwrap();
    let (late, in_order) = (call(None, Some(NUMBER)), call(None, Some("+15555550101")));
    let names_nothing = |named: &Call| Call { phone_number: None, ..named.clone() };
    let others = |of: &Call| {
        let nameless = names_nothing(of);
        [
            nameless.transcript("A visit.", 5_000),
            nameless.message("hang", 6_000, json!({})),
            nameless.status("ended", 21_300),
            nameless.report(60_000, json!({})),
        ]
    };
    for body in others(&late) {
        post(&webhook, &body).await;
    }
    assert_eq!(database.count("unresolved_events").await, 4);
    post(&webhook, &late.status("in-progress", 4_000)).await;
    assert_eq!(database.count("unresolved_events").await, 0);

    post(&webhook, &in_order.status("in-progress", 4_000)).await;
    for body in others(&in_order) {
        post(&webhook, &body).await;
    }
    let comparable = |rows: String, call: &Call| rows.replace(&call.id, "call").replace("+15555550101", NUMBER);
    // Keys and hashes depend on the number, so the claims are compared by count.
    assert_eq!(database.count(&format!("processed_webhook_events WHERE org_id = '{acme}'")).await, 5);
    assert_eq!(database.count(&format!("processed_webhook_events WHERE org_id = '{other}'")).await, 5);
    let call_rows = "SELECT jsonb_agg(to_jsonb(l) - '{id,org_id,agent_id,folded_parties,created_at,updated_at}'::text[])::text FROM call_logs l";
    let rows = async |org| database.text(&format!("{call_rows} WHERE org_id = '{org}'")).await.unwrap();
    assert_eq!(comparable(rows(acme).await, &late), comparable(rows(other).await, &in_order));
    assert_eq!(database.count("call_transcripts").await, 2);
}

/// D13: an event that is stored as unresolved while another event of its call resolves the org is applied, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unresolved_event_stored_beside_its_route_is_applied() {
    let (database, _, acme, _) = open().await;
    database.admin().await.add_agent(acme, &agent(Some(ASSISTANT), None)).await.unwrap();
    for _ in 0..40 {
        let named = call(Some(ASSISTANT), None);
        let nameless = Call { assistant: None, ..named.clone() };
        let mut tasks = tokio::task::JoinSet::new();
        for body in
            [nameless.transcript("A visit.", 1_000), named.status("ended", 2_000), nameless.report(3_000, json!({}))]
        {
            let (connection, delivery) = (database.app(), delivery_with(Credential::Platform, &body));
            tasks.spawn(async move { apply_event(&connection, &delivery).await });
        }
        while let Some(outcome) = tasks.join_next().await {
            outcome.unwrap().unwrap();
        }
        assert_eq!(database.count("unresolved_events").await, 0);
        let claims = format!("processed_webhook_events WHERE org_id = '{acme}' AND vapi_call_id = '{}'", named.id);
        assert_eq!(database.count(&claims).await, 3);
    }
}

/// D3, D13: an org that posts another org's call id, assistant, number and customer to its own URL changes only its own
/// rows and no route.
#[tokio::test]
async fn an_org_cannot_reach_another_orgs_call() {
    let (database, webhook, victim, intruder) = open().await;
    database.admin().await.add_agent(victim, &agent(Some(ASSISTANT), Some(NUMBER))).await.unwrap();
    for org in [victim, intruder] {
        database.lead(org, "+15555550142").await;
    }
    let call = call(Some(ASSISTANT), Some(NUMBER));
    post(&webhook, &call.status("in-progress", 0)).await;
    let before = database.everything_of(victim).await;
    for table in ["agents", "leads", "call_logs", "call_tracking", "calls", "processed_webhook_events", "call_routes"] {
        assert!(before.contains_key(table), "nothing to lose in {table}");
    }

    let theirs =
        [call.status("in-progress", 0), call.transcript("Not yours.", 1), call.report(60_000, json!({"cost": 99}))];
    for body in &theirs {
        assert_eq!(webhook.post(intruder, body).await.status, 200);
    }
    assert_eq!(database.everything_of(victim).await, before);
    let own = format!(
        "call_logs JOIN leads USING (org_id) WHERE org_id = '{intruder}' AND call_logs.status = 'completed'
            AND cost = 99 AND agent_id IS NULL AND lead_id = leads.id AND leads.status = 'contacted'"
    );
    assert_eq!(database.count(&own).await, 1);
}

/// D13: an org cannot claim a call in advance, because only platform events create routes.
#[tokio::test]
async fn an_orgs_own_url_writes_no_route() {
    let (database, webhook, victim, intruder) = open().await;
    let call = call(Some(ASSISTANT), Some(NUMBER));
    assert_eq!(webhook.post(intruder, &call.status("in-progress", 0)).await.status, 200);
    assert_eq!(database.count("call_routes").await, 0);

    database.admin().await.add_agent(victim, &agent(Some(ASSISTANT), Some(NUMBER))).await.unwrap();
    let before = database.everything_of(intruder).await;
    post(&webhook, &call.status("ended", 1_000)).await;
    assert_eq!(database.everything_of(intruder).await, before);
    assert_eq!(database.count(&format!("call_logs WHERE org_id = '{victim}' AND status = 'completed'")).await, 1);
}

/// D13: an id that one org has registered cannot be registered by another. The registration fails as a whole, and the
/// directory does not change.
#[tokio::test]
async fn an_id_of_another_org_cannot_be_registered() {
    let (database, _door, acme, other) = open().await;
    let admin = database.admin().await;
    let everything = NewAgent {
        squad_id: Some("squad-1".to_owned()),
        phone_number_id: Some("number-1".to_owned()),
        ..agent(Some(ASSISTANT), Some(NUMBER))
    };
    admin.add_agent(acme, &everything).await.unwrap();
    let before = (database.everything_of(acme).await, database.everything_of(other).await);
    let none = agent(None, None);
    for taken in [
        agent(Some(ASSISTANT), Some("+15555550111")),
        agent(Some("new-one"), Some(NUMBER)),
        NewAgent { squad_id: Some("squad-1".to_owned()), ..none.clone() },
        NewAgent { phone_number_id: Some("number-1".to_owned()), ..none },
    ] {
        let failure = admin.add_agent(other, &taken).await.unwrap_err();
        let found = (failure.code, failure.constraint.as_deref());
        assert_eq!(found, (FailureCode::ConstraintViolated, Some("platform_directory_pkey")), "{taken:?}");
    }
    assert_eq!((database.everything_of(acme).await, database.everything_of(other).await), before);
    // The org itself may use its number and assistant for a second agent.
    admin.add_agent(acme, &everything).await.unwrap();
    assert_eq!(database.count("agents").await, 2);
    assert_eq!(database.count("platform_directory").await, 4);
}

/// D13: an agent that is added while an event is being stored as unresolved waits for the event and applies it.
#[tokio::test]
async fn an_agent_added_while_an_event_is_being_stored_applies_it() {
    let (database, _door, acme, _) = open().await;
    let call = call(Some(ASSISTANT), None);
    let keeping = database.client("ringfence_app").await;
    keeping.batch_execute("BEGIN").await.unwrap();
    let kept = delivery_with(Credential::Platform, &call.status("ended", 0));
    let event = serde_json::to_string(&kept.event).unwrap();
    let keep = format!("SELECT outcome FROM apply_event_v1(NULL, NULL, '{}', $event${event}$event$, now())", kept.key);
    assert_eq!(keeping.query_one(&keep, &[]).await.unwrap().get::<_, String>(0), "unresolved");

    let (admin, agent) = (database.admin().await, agent(Some(ASSISTANT), None));
    let commit = async {
        wait_for_blocked_statement(&database).await;
        keeping.batch_execute("COMMIT").await.unwrap();
    };
    let (added, ()) = tokio::join!(admin.add_agent(acme, &agent), commit);
    assert_eq!(added.unwrap().events, Resolved { applied: 1, failed: 0, more: false });
    assert_eq!(orgs_of(&database, &call).await, Some(acme.to_string()));
}

/// D13: an event that arrives while its agent is being added waits for the agent and finds it.
#[tokio::test]
async fn an_event_received_while_its_agent_is_being_added_finds_it() {
    let (database, webhook, acme, _) = open().await;
    let call = call(Some(ASSISTANT), None);
    let adding = database.superuser().await;
    let add = format!(
        "BEGIN; SET LOCAL ROLE ringfence_ops;
        SELECT add_agent_v1('test', '{acme}', 'Front desk', 'inbound', '{ASSISTANT}', NULL, NULL, NULL, false, '{{}}')"
    );
    adding.batch_execute(&add).await.unwrap();
    let body = call.status("ended", 0);
    let commit = async {
        wait_for_blocked_statement(&database).await;
        adding.batch_execute("COMMIT").await.unwrap();
    };
    tokio::join!(post(&webhook, &body), commit);
    assert_eq!(orgs_of(&database, &call).await, Some(acme.to_string()));
    assert_eq!(database.count("unresolved_events").await, 0);
}

/// Waits until a statement in this database waits for an advisory lock.
async fn wait_for_blocked_statement(database: &TestDatabase) {
    let client = database.superuser().await;
    let waiting = "SELECT FROM pg_locks WHERE NOT granted AND locktype = 'advisory'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let is_blocked = async || !client.query(waiting, &[]).await.unwrap().is_empty();
    eventually("a statement waits", async || is_blocked().await.then_some(())).await;
}

/// D13: in a race between agent and event, the event is always applied.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_at_the_moment_of_its_registration_is_never_stranded() {
    const ROUNDS: usize = 40;
    let (database, webhook, acme, _) = open().await;
    let (admin, queues) = (database.admin().await, TestQueues::new().await);
    let second_door = TestWebhook::new(database.app(), &queues);
    for round in 0..ROUNDS {
        let assistant = format!("assistant-{round}");
        let agent = agent(Some(&assistant), None);
        let [one, two] = [(); 2].map(|()| call(Some(&assistant), None).status("ended", 0));
        let (added, (), ()) =
            tokio::join!(admin.add_agent(acme, &agent), post(&webhook, &one), post(&second_door, &two));
        added.unwrap();
    }
    assert_eq!(database.count("unresolved_events").await, 0);
    let applied = format!("call_logs WHERE org_id = '{acme}' AND status = 'completed' AND agent_id IS NOT NULL");
    assert_eq!(database.count(&applied).await, i64::try_from(2 * ROUNDS).unwrap());
    assert!(queues.take(Function::CallEnded).await.records.is_empty());
}
