//! Any order and any duplicates of events result in the same rows, with the real SQL. The rows equal a fold over all
//! retained events, also where an event was merged into the existing rows.

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};
use ringfence_harness::testing::database::apply;
use ringfence_harness::testing::{Call, TestDatabase};
use ringfence_vapi::OrgId;
use ringfence_vapi::status::STATUSES;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

const CALL: &str = "019d6b04-e541-7eaf-a178-c7f1eb9f217a";
const ASSISTANT: &str = "4dac6abb-472a-4a1d-8f6c-c2ed74e2cf44";
/// Leads of each org.
const CUSTOMERS: [&str; 2] = ["+15555550142", "+15555550143"];

/// All orders of the positions `0..count`.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let insert = |shorter: Vec<usize>| {
        (0..count).map(move |position| {
            let mut longer = shorter.clone();
            longer.insert(position, count - 1);
            longer
        })
    };
    permutations(count - 1).into_iter().flat_map(insert).collect()
}

/// An order with three of its events repeated, at positions that depend on the seed.
fn with_repeats(order: &[usize], seed: usize) -> Vec<usize> {
    let mut repeated = order.to_vec();
    for turn in 0..3 {
        let again = order[(seed + turn) % order.len()];
        let position = (seed * 7 + turn * 3) % (repeated.len() + 1);
        repeated.insert(position, again);
    }
    repeated
}

/// An org with a key, two customers as leads, and an agent. It does not use the administrator's functions, because
/// there an assistant belongs to one org, while all orgs of these tests have the same one.
async fn org_with_lead_and_agent(superuser: &Client) -> OrgId {
    let insert = "WITH org AS (INSERT INTO organizations (name) VALUES ('Acme') RETURNING id),
        key AS (INSERT INTO organization_keys (org_id, version) SELECT id, 1 FROM org),
        lead AS (INSERT INTO leads (org_id, phone) SELECT id, unnest($1::text[]) FROM org),
        agent AS (INSERT INTO agents (org_id, name, vapi_assistant_id) SELECT id, 'front', $2 FROM org)
        SELECT id FROM org";
    OrgId::from(superuser.query_one(insert, &[&CUSTOMERS.as_slice(), &ASSISTANT]).await.unwrap().get::<_, Uuid>(0))
}

/// Creates another org with the same retained events, and computes its rows by a fold over all events.
async fn fold_from_nothing(superuser: &Client, org: OrgId) -> OrgId {
    let other = org_with_lead_and_agent(superuser).await;
    let retain = "INSERT INTO processed_webhook_events (org_id, event_id, event_type, vapi_call_id, message_time, event, received_at)
        SELECT $1, event_id, event_type, vapi_call_id, message_time, event, received_at
        FROM processed_webhook_events WHERE org_id = $2";
    superuser.execute(retain, &[other.as_uuid(), org.as_uuid()]).await.unwrap();
    let replay = "SELECT replay_event_v1(org_id, event_id) FROM processed_webhook_events WHERE org_id = $1";
    superuser.query(replay, &[other.as_uuid()]).await.unwrap();
    other
}

/// Delivers the events in each order to a separate org and asserts that all orgs have the same rows, equal to a fold
/// over all events.
async fn assert_order_never_shows(events: &[Value], orders: Vec<Vec<usize>>) {
    let database = TestDatabase::new().await;
    let (connection, superuser) = (database.app(), database.superuser().await);
    for order in orders {
        let org = org_with_lead_and_agent(&superuser).await;
        for position in &order {
            apply(&connection, org, &events[*position]).await;
        }
        fold_from_nothing(&superuser, org).await;
    }
    let rows = database.rows_by_org().await;
    let (_, expected) = &rows[0];
    for (org, found) in &rows {
        assert_eq!(found, expected, "org {org} has other rows");
    }
}

fn all_orders_with_repeats(count: usize) -> Vec<Vec<usize>> {
    permutations(count).iter().enumerate().map(|(seed, order)| with_repeats(order, seed)).collect()
}

/// D2: every permutation of a six-event call, with repeated events, results in the same rows.
#[tokio::test]
async fn every_order_of_a_call_with_repeats_ends_in_the_same_rows() {
    let call = Call::default();
    let events = [
        call.status("queued", 0),
        call.status("ringing", 1_000),
        call.status("in-progress", 4_000),
        call.transcript("A visit, please.", 9_000),
        call.status("ended", 21_400),
        call.report(24_900, json!({})),
    ];
    assert_order_never_shows(&events, all_orders_with_repeats(events.len())).await;
}

/// D2: the fold of three reports with different fields is the same in any order.
#[tokio::test]
async fn every_order_of_three_differing_reports_ends_in_the_same_rows() {
    let call = Call::default();
    let unknown = json!({"cost": null, "durationSeconds": null, "analysis": {}, "artifact": {}});
    let partly = json!({"cost": 0.5, "startedAt": null, "endedAt": "2026-09-14T15:02:40.000Z", "artifact": {"transcript": "Short."}});
    let full = json!({"analysis": {"summary": "Another summary.", "structuredData": {"booked": true}}});
    let events = [
        call.report(24_000, unknown),
        call.report(30_000, partly),
        call.report(27_000, full),
        call.status("ended", 21_400),
        call.status("in-progress", 4_000),
        call.transcript("A visit, please.", 9_000),
    ];
    assert_order_never_shows(&events, all_orders_with_repeats(events.len())).await;
}

/// D2, E4: the facts of several reports that have different ones, and a conversation that reports and transcripts both
/// have, end in the same rows in any order.
#[tokio::test]
async fn every_order_of_a_calls_facts_ends_in_the_same_rows() {
    let call = Call::default();
    let said = |role: &str, text: &str| json!({"role": role, "message": text, "time": 1_789_398_136_000_i64});
    let preliminary = json!({
        "structuredOutputs": {"a": {"result": 1}, "b": {"result": 1}},
        "artifact": {"messages": [said("bot", "How can I help?")], "scorecards": {"s": {"score": 1}}},
        "customer": {"number": "+1"}, "durationSeconds": null, "endedAt": "2026-09-14T15:02:12.000Z",
    });
    let whole = json!({
        "structuredOutputs": [{"id": "b", "result": 2}, {"id": "c", "result": 2}],
        "artifact": {"messages": [said("bot", "How can I help?"), said("user", "A visit, please.")]},
        "compliance": {"recordingConsent": {"type": "verbal"}},
    });
    let artifacts = json!({"status": "ended", "inboundPhoneCallDebuggingArtifacts": {"error": "No assistant."}});
    let mut events = vec![
        call.report(24_000, preliminary),
        call.report(27_000, whole),
        call.message("status-update", 21_400, artifacts),
        call.status("in-progress", 4_000),
        call.transcript(" ", 9_000),
    ];
    assert_order_never_shows(&events, all_orders_with_repeats(events.len())).await;
    events[4] = call.transcript("A visit, please.", 9_000);
    assert_order_never_shows(&events, all_orders_with_repeats(events.len())).await;
}

/// D2: the expected values of the final rows, so that equal but wrong rows fail.
#[tokio::test]
async fn a_late_event_never_reopens_a_finished_call_and_known_values_stay() {
    let database = TestDatabase::new().await;
    let org = org_with_lead_and_agent(&database.superuser().await).await;
    let call = Call::default();
    let late = [
        call.report(24_900, json!({})),
        call.status("ended", 21_400),
        call.status("in-progress", 4_000),
        call.status("queued", 0),
    ];
    database.apply(org, &late).await;
    let row = database
        .superuser()
        .await
        .query_one(
            "SELECT l.status, t.status, c.status, l.duration_seconds, l.cost::text, l.ended_reason, l.summary, t.answered,
                l.agent_id IS NOT NULL, l.lead_id IS NOT NULL, c.recording_state, l.recording_url, t.called_at::text, l.ended_at::text
             FROM call_logs l JOIN call_tracking t USING (org_id, vapi_call_id) JOIN calls c USING (org_id, vapi_call_id)",
            &[],
        )
        .await
        .unwrap();
    let statuses: [&str; 3] = [row.get(0), row.get(1), row.get(2)];
    assert_eq!(statuses, ["completed"; 3]);
    assert_eq!((row.get::<_, i32>(3), row.get::<_, &str>(4)), (17, "0.037"));
    assert_eq!((row.get::<_, &str>(5), row.get::<_, &str>(6)), ("customer-ended-call", "Wants a visit."));
    assert_eq!([row.get::<_, bool>(7), row.get(8), row.get(9)], [true; 3]);
    assert_eq!((row.get::<_, &str>(10), row.get::<_, &str>(11)), ("linked", "https://storage.example/recording.wav"));
    assert!(row.get::<_, &str>(12).starts_with("2026-09-14 15:02:11.48"));
    assert!(row.get::<_, &str>(13).starts_with("2026-09-14 15:02:32.78"));
    let lead = format!("SELECT status FROM leads WHERE phone = '{}'", CUSTOMERS[0]);
    assert_eq!(database.text(&lead).await.as_deref(), Some("contacted"));
}

/// An event with optional fields and an optional time.
fn event() -> impl Strategy<Value = Value> {
    let time = prop::option::of(0..60_000i64);
    // The key of a transcript depends on its text and not on the participants, so one text at one time cannot have two
    // speakers.
    let speaker = Call { id: CALL.to_owned(), ..Call::default() };
    let transcripts = (time, "[ a-c]{1,2}").prop_map(move |(time, text)| speaker.transcript(&text, time.unwrap_or(0)));
    prop_oneof![3 => status_update(), 3 => report(), 1 => transcripts]
}

fn reason() -> impl Strategy<Value = Option<&'static str>> {
    prop::option::of(prop::sample::select(vec!["customer-busy", "voicemail", "silence-timed-out"]))
}

/// Fields that are merged by key, and that only some messages have.
fn facts() -> impl Strategy<Value = Value> {
    let outputs = prop::option::of(prop::collection::btree_map("[a-c]", 0..3u8, 0..3));
    let score = prop::option::of(0..3u8);
    let consent = prop::option::of(prop::sample::select(vec!["verbal", "stay-on-line"]));
    let destination = prop::option::of(prop::sample::select(vec!["+15555550155", "+15555550156"]));
    let error = prop::option::of(prop::sample::select(vec!["No assistant.", "Too late."]));
    (outputs, score, consent, destination, error).prop_map(|(outputs, score, consent, destination, error)| {
        json!({
            "structuredOutputs": outputs, "compliance": {"recordingConsent": {"type": consent}},
            "destination": {"number": destination}, "inboundPhoneCallDebuggingArtifacts": {"error": error},
            "artifact": {"scorecards": score.map(|score| json!({"score": score}))},
        })
    })
}

/// A message of the call, with a time or without one.
fn timed(call: &Call, message_type: &str, time: Option<i64>, extra: Value) -> Value {
    let mut body = match message_type {
        "end-of-call-report" => call.report(0, extra),
        _ => call.message(message_type, 0, extra),
    };
    body["message"]["timestamp"] = time.map_or(Value::Null, |at| json!(1_789_398_131_480 + at));
    body
}

fn status_update() -> impl Strategy<Value = Value> {
    let time = prop::option::of(0..60_000i64);
    let status =
        prop::sample::select(vec!["scheduled", "queued", "ringing", "in-progress", "forwarding", "ended", "paused"]);
    (call(), status, time, reason(), facts()).prop_map(|(call, status, time, reason, mut facts)| {
        facts["status"] = json!(status);
        facts["endedReason"] = json!(reason);
        timed(&call, "status-update", time, facts)
    })
}

/// Times of a report may be unknown, and may contradict each other and those of status updates.
fn report() -> impl Strategy<Value = Value> {
    let time = prop::option::of(0..60_000i64);
    let at = || prop::option::of((0..60i64).prop_map(|at| json!(1_789_398_131_480 + at * 1_000)));
    let turns = prop::collection::vec(("[a-c]{1,2}", any::<bool>()), 0..3);
    let amounts = (prop::option::of(0..100u32), prop::option::of(0..90u32), any::<bool>());
    (call(), time, reason(), amounts, (at(), at()), facts(), turns).prop_map(
        |(call, time, reason, (cost, duration, summary), (started, ended), mut facts, turns)| {
            let message = |(text, is_user): &(String, bool)| {
                let call = json!({"id": "t", "function": {"name": text, "arguments": "{}"}});
                if *is_user {
                    json!({"role": "user", "message": text})
                } else {
                    json!({"role": "tool_calls", "toolCalls": [call]})
                }
            };
            facts["artifact"]["messages"] = turns.iter().map(message).collect();
            facts["endedReason"] = json!(reason);
            facts["cost"] = json!(cost);
            facts["durationSeconds"] = json!(duration);
            facts["startedAt"] = json!(started);
            facts["endedAt"] = json!(ended);
            facts["analysis"] = json!({"summary": summary.then(|| format!("Lasted {duration:?}."))});
            timed(&call, "end-of-call-report", time, facts)
        },
    )
}

/// A call with the participants in its messages: in most events the same, but a handover may change the assistant, and a
/// transfer the number. Whether it is a test call does not change here, because a lead remains contacted, which is the
/// only effect that depends on the order.
fn call() -> impl Strategy<Value = Call> {
    let same = Call { id: CALL.to_owned(), ..Call::default() };
    prop_oneof![2 => Just(same), 1 => call_of_any_parties()]
}

fn call_of_any_parties() -> impl Strategy<Value = Call> {
    let customer = prop::option::of(prop::sample::select(vec![
        CUSTOMERS[0],
        CUSTOMERS[1],
        "+15555550199",
        "sip:dana@x.example",
        "+1",
    ]));
    let assistant = prop::option::of(prop::sample::select(vec![ASSISTANT, "an assistant of nobody"]));
    let number = prop::option::of(prop::sample::select(vec!["+15555550100", "+15555550101"]));
    let campaign = prop::option::of(0..3u8);
    (customer, assistant, number, campaign).prop_map(|(customer, assistant, number, campaign)| Call {
        id: CALL.to_owned(),
        customer: customer.map(str::to_owned),
        assistant: assistant.map(str::to_owned),
        phone_number: number.map(str::to_owned),
        phone_number_id: None,
        metadata: campaign.map_or(Value::Null, |campaign| json!({"campaign": campaign})),
    })
}

/// Sorts the events by their message times.
fn in_order_of_time(mut events: Vec<Value>) -> Vec<Value> {
    events.sort_by_key(|body| body["message"]["timestamp"].as_i64());
    events
}

/// D2: any set of events with any unknown fields, in any two orders with any repetitions, in the order of their message
/// times, and as a fold over all retained events.
#[test]
fn any_events_in_any_order_end_in_the_same_rows() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let database = runtime.block_on(TestDatabase::new());
    let (connection, superuser) = runtime.block_on(async { (database.app(), database.superuser().await) });
    let sets = prop::collection::vec(event(), 1..7).prop_flat_map(|events| {
        let repeated: Vec<_> = events.iter().chain(events.iter().take(2)).cloned().collect();
        (Just(events), Just(repeated).prop_shuffle())
    });
    // A counterexample that is found is committed, and tried first from then on.
    let regressions = FileFailurePersistence::Direct(concat!(env!("CARGO_MANIFEST_DIR"), "/it/regressions/order.txt"));
    let config = Config { cases: 200, failure_persistence: Some(Box::new(regressions)), ..Config::default() };
    TestRunner::new(config)
        .run(&sets, |(one_order, another)| {
            let rows = runtime.block_on(async {
                let mut rows = Vec::new();
                let in_order = in_order_of_time(one_order.clone());
                for order in [one_order, another, in_order] {
                    let org = org_with_lead_and_agent(&superuser).await;
                    for body in &order {
                        apply(&connection, org, body).await;
                    }
                    rows.push(database.rows_of(org).await);
                    let folded = fold_from_nothing(&superuser, org).await;
                    rows.push(database.rows_of(folded).await);
                }
                rows
            });
            for other in &rows[1..] {
                prop_assert_eq!(&rows[0], other);
            }
            Ok(())
        })
        .unwrap();
}

/// The statuses in Rust have the order of the ranks in SQL, and an unknown status never replaces a known one.
#[tokio::test]
async fn statuses_are_ranked_alike_in_rust_and_in_sql() {
    let database = TestDatabase::new().await;
    let superuser = database.superuser().await;
    let rank = async |status: &str| -> i16 {
        superuser.query_one("SELECT call_status_rank($1)", &[&status]).await.unwrap().get(0)
    };
    let mut ranks = Vec::new();
    for status in STATUSES {
        ranks.push(rank(status).await);
    }
    assert!(ranks.is_sorted_by(|lower, higher| lower < higher), "{STATUSES:?}: {ranks:?}");
    assert_eq!(rank("ended").await, rank("completed").await);
    for added in ["", "Ringing", "not-found", "paused"] {
        assert_eq!(rank(added).await, rank("unknown").await, "{added}");
    }
}
