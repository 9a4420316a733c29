//! E3: the proof. After an erasure, no table, queue or bucket has the number or what was said, however the number came
//! in, and nothing that comes later brings it back.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use ringfence_core::admin::RESOLVE_LIMIT;
use ringfence_harness::testing::endpoint::Manner;
use ringfence_harness::testing::webhook::keys;
use ringfence_harness::testing::{Call, TestEndpoint};
use ringfence_protocol::admin::{NewAgent, Replayable, Selection, Target, Tool, ToolKind};
use ringfence_protocol::maintenance::Job;
use ringfence_protocol::{Credential, Delivery, ParkRequest};
use ringfence_runtime::envelope::{self, Sealed};
use ringfence_runtime::events;
use ringfence_vapi::{FailureCode, Function, Message, parse};
use serde_json::{Value, json};
use strum::IntoEnumIterator as _;

use super::erase;
use crate::recordings::{Stage, wav};

/// What the erased person says, in each text of their calls.
const WORDS: &str = "My name is Kim Erasable";
const ASSISTANT: &str = "known-assistant";

/// A spelling of a number, the number as the operator writes it, and a text that all its spellings contain.
const SPELLINGS: [(&str, &str, &str); 6] = [
    ("+15555550142", "+15555550142", "5555550142"),
    ("15555550142", "+15555550142", "5555550142"),
    ("tel:+15555550142", "15555550142", "5555550142"),
    ("sip:+15555550142@pbx.example.com;user=phone", "+1 (555) 555-0142", "5555550142"),
    ("+15555550142", "sip:+15555550142@carrier.example.com", "5555550142"),
    ("sip:Kim.Erasable@pbx.example.com:5061", "sips:kim.erasable@PBX.example.com", "kim.erasable"),
];

/// Where the number is before the erasure.
const WAYS: [&str; 10] = [
    "bucket of parked events",
    "call_logs",
    "call_tracking",
    "end-of-call-report-dlq",
    "failed_operations",
    "processed_webhook_events",
    "tool_executions",
    "transcript",
    "transcript-dlq",
    "unresolved_events",
];

/// All bodies that were posted: to the org's URL and to the platform URL.
#[derive(Default)]
struct Posted {
    own: Vec<Value>,
    platform: Vec<Value>,
}

fn of_customer(mut body: Value, spelling: &str) -> Value {
    let field = if spelling.starts_with("sip:") { "sipUri" } else { "number" };
    body["message"]["customer"] = json!({field: spelling});
    body
}

fn call(spelling: &str) -> Call {
    Call { customer: Some(spelling.to_owned()), assistant: Some(ASSISTANT.to_owned()), ..Call::default() }
}

/// A body as a delivery of the webhook function, with the tombstones of its number.
fn sealed(credential: Credential, body: &Value) -> Delivery {
    let Message::Stored(stored) = parse(body.to_string().as_bytes(), Timestamp::now()).unwrap().message else {
        panic!("not a stored event: {body}")
    };
    keys().delivery_sealer().unwrap().delivery_of(credential, Timestamp::now(), stored)
}

fn message(delivery: &Delivery) -> String {
    match envelope::seal(delivery).unwrap() {
        Sealed::Fits(text) => text,
        Sealed::Oversize(_) => panic!("too large for a message"),
    }
}

/// Parks an event in the bucket and puts its message on the retry queue.
async fn park(stage: &Stage, delivery: &Delivery) {
    let Sealed::Oversize(text) = envelope::seal(delivery).unwrap() else { panic!("it fits into a message") };
    let request = ParkRequest::new(delivery, text, Some(FailureCode::DatabaseUnreachable));
    events::park(&stage.queues.consumer(delivery.event.function(), stage.database.app()), request).await.unwrap();
}

/// Runs each event function until its retry queue is empty.
async fn drain(stage: &Stage) {
    for function in Function::iter() {
        loop {
            let batch = stage.queues.take(function).await;
            if batch.records.is_empty() {
                break;
            }
            let consumer = stage.queues.consumer(function, stage.database.app());
            let again = consumer.consume(batch, Instant::now() + Duration::from_mins(5)).await;
            assert!(again.batch_item_failures.is_empty(), "{function:?}: {again:?}");
        }
    }
}

/// The tables, queues and buckets that contain a text in lower case, ignoring case.
async fn places(stage: &Stage, text: &str) -> Vec<String> {
    let tables = "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%'";
    let client = stage.database.superuser().await;
    let mut found = Vec::new();
    for row in client.query(tables, &[]).await.unwrap() {
        let table: String = row.get(0);
        // The text of a row has all its columns, of any type.
        let rows = format!("SELECT count(*) FROM {table} t WHERE t::text ILIKE '%{text}%'");
        if client.query_one(&rows, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            found.push(table);
        }
    }
    let contents = stage.queues.contents().await.into_iter();
    found.extend(contents.filter(|(_, content)| content.to_lowercase().contains(text)).map(|(place, _)| place));
    found.sort();
    found.dedup();
    found
}

/// Brings the number and the words in on every way. Returns what was posted.
async fn bring_in(stage: &Stage, spelling: &str) -> Posted {
    let admin = stage.database.admin().await;
    let agent = NewAgent {
        name: "Desk".to_owned(),
        role: "inbound".to_owned(),
        assistant_id: Some(ASSISTANT.to_owned()),
        ..NewAgent::default()
    };
    admin.add_agent(stage.org, &agent).await.unwrap();
    let mut posted = Posted::default();

    // Events that fail: a failed operation each, and a dead letter.
    let failing = call(spelling);
    stage.execute("ALTER TABLE call_logs ADD CONSTRAINT nobody_ends CHECK (status <> 'completed') NOT VALID").await;
    let body = of_customer(failing.report(60_000, json!({"transcript": WORDS, "artifact": {}})), spelling);
    assert_eq!(stage.webhook().post(stage.org, &body).await.status, 200);
    drain(stage).await;
    stage.execute("ALTER TABLE call_logs DROP CONSTRAINT nobody_ends").await;
    posted.own.push(body);

    // Applied events: a whole call with a recording; a call that had the number only at first (case 53); calls that only
    // a transcript or a timeline event names (case 52).
    let (whole, first, said, timeline) = (call(spelling), call(spelling), call(spelling), call(spelling));
    let mut applied = vec![
        of_customer(whole.status("in-progress", 0), spelling),
        of_customer(whole.transcript(WORDS, 5_000), spelling),
        of_customer(whole.report(60_000, json!({"transcript": WORDS, "artifact": {}})), spelling),
        of_customer(first.status("ringing", 0), spelling),
        of_customer(first.report(60_000, json!({"transcript": WORDS, "artifact": {}})), "+15555550999"),
        of_customer(said.transcript(WORDS, 0), spelling),
        of_customer(timeline.message("assistant.started", 0, json!({})), spelling),
    ];
    for body in &applied {
        assert_eq!(stage.webhook().post(stage.org, body).await.status, 200);
    }
    posted.own.append(&mut applied);
    assert_eq!(stage.record(&whole, &wav(1000)).await, 0);

    // A call that only a tool call names, and its answer.
    let endpoint = TestEndpoint::start(Manner::Answers(json!({"result": format!("{WORDS}, {spelling}")}))).await;
    let tool = Tool {
        kind: ToolKind::Tool,
        name: "book".to_owned(),
        endpoint: endpoint.url.clone(),
        timeout_seconds: 10,
        is_idempotent: false,
    };
    admin.set_tool(stage.org, &tool).await.unwrap();
    for id in ["call_1", "call_2"] {
        let function = json!({"name": "book", "arguments": {"who": WORDS}});
        let list = json!({"toolCallList": [{"id": id, "type": "function", "function": function}]});
        let body = of_customer(call(spelling).message("tool-calls", 0, list), spelling);
        assert_eq!(stage.webhook().post(stage.org, &body).await.status, 200);
        posted.own.push(body);
    }
    assert_eq!(endpoint.requests().len(), 2);
    posted.own.push(of_customer(call(spelling).message("assistant-request", 0, json!({})), spelling));
    assert_eq!(stage.webhook().post(stage.org, posted.own.last().unwrap()).await.status, 200);

    // Messages without a row: on a dead-letter queue, on a retry queue, and parked, by the org's key and the platform's.
    let own = Credential::Org { org_id: stage.org, key_version: 1 };
    for credential in [own, Credential::Platform] {
        let (dead, waiting, parked) = (call(spelling), call(spelling), call(spelling));
        let words: String = std::iter::repeat_with(fastrand::alphanumeric).take(1_500_000).collect();
        let body = of_customer(dead.transcript(WORDS, 0), spelling);
        let letters = stage.queues.queues_of(Function::Transcript).dead_letters;
        letters.send_text(message(&sealed(credential, &body)), Some(FailureCode::DatabaseUnreachable)).await.unwrap();
        let late = of_customer(waiting.transcript(WORDS, 0), spelling);
        stage.queues.put(Function::Transcript, &message(&sealed(credential, &late))).await;
        let large =
            of_customer(parked.report(0, json!({"transcript": format!("{WORDS} {words}"), "artifact": {}})), spelling);
        park(stage, &sealed(credential, &large)).await;
        let bodies = [body, late, large];
        if credential == own { posted.own.extend(bodies) } else { posted.platform.extend(bodies) }
    }

    // Platform events of an unknown org.
    let unresolved = Call { assistant: Some("unknown".to_owned()), phone_number: None, ..call(spelling) };
    for body in [unresolved.status("in-progress", 0), unresolved.transcript(WORDS, 5_000)] {
        let body = of_customer(body, spelling);
        assert_eq!(stage.webhook().post_platform(&body).await.status, 200);
        posted.platform.push(body);
    }
    posted
}

/// E3, D11: however the number came in and however it is spelled, an erasure leaves no trace of it or of what was said,
/// and no redelivery, redrive, replay, rollup or new tool call brings it back. Another person's call stays.
#[tokio::test]
async fn an_erased_number_is_nowhere_and_stays_so() {
    for (spelling, target, needle) in SPELLINGS {
        let stage = Stage::new().await;
        let posted = bring_in(&stage, spelling).await;
        if spelling.starts_with('+') {
            stage.database.lead(stage.org, spelling).await;
        }
        let (other, words) = (call("+15555550777"), WORDS.to_lowercase());
        for body in [other.status("in-progress", 0), other.transcript("Somebody else", 5_000)] {
            assert_eq!(stage.webhook().post(stage.org, &body).await.status, 200);
        }
        let found = places(&stage, needle).await;
        for place in WAYS {
            assert!(found.iter().any(|found| found == place), "{spelling}: not in {place}: {found:?}");
        }

        let target = || Target::Number(target.to_owned().into());
        let counted = erase(&stage, target(), false).await;
        assert_eq!(places(&stage, needle).await, found, "{spelling}: a dry run changes nothing");
        let erased = erase(&stage, target(), true).await;
        assert!(!erased.more && erased.known.calls >= counted.known.calls, "{erased:?} {counted:?}");
        assert_eq!((erased.dead_letters, erased.parked), (3, 2), "{spelling}: {erased:?}");
        assert_eq!(erased.known.unresolved, 2, "{spelling}");
        // Messages in flight end at their next delivery, and objects of recordings at the next maintenance.
        drain(&stage).await;
        stage.maintain(Job::ExpireRecordings, false).await;
        for text in [needle, words.as_str()] {
            assert_eq!(places(&stage, text).await, [""; 0], "{spelling}: {text}");
        }

        for body in &posted.own {
            assert_eq!(stage.webhook().post(stage.org, body).await.status, 200);
        }
        for body in &posted.platform {
            assert_eq!(stage.webhook().post_platform(body).await.status, 200);
        }
        drain(&stage).await;
        let admin = stage.database.admin().await;
        let selection = Selection { org_id: Some(stage.org), ..Selection::default() };
        assert_eq!(admin.count_replayable(Replayable::Failed, &selection).await.unwrap(), 0);
        assert_eq!(admin.replay(Replayable::Applied, None, &selection, None, 100).await.unwrap().failed, 0);
        assert_eq!(admin.apply_unresolved(None, Instant::now() + RESOLVE_LIMIT).await.unwrap().failed, 0);
        for text in [needle, words.as_str()] {
            assert_eq!(places(&stage, text).await, [""; 0], "{spelling}: {text} came back");
        }
        assert_eq!(stage.database.count(&format!("call_logs WHERE vapi_call_id = '{}'", other.id)).await, 1);
        assert_eq!(erase(&stage, target(), true).await.known, ringfence_protocol::admin::Erasable::default());
    }
}
