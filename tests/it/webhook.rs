//! The webhook function: every message is answered as in the design's table, and stored events are in the rows.

mod authentication;
mod leads;
mod samples;
mod tolerance;

use insta::assert_snapshot;
use ringfence_harness::testing::webhook::{Reply, masters};
use ringfence_harness::testing::{Call, TestDatabase, TestQueues, TestWebhook, sample};
use ringfence_vapi::OrgId;
use serde_json::{Map, Value, json};

/// A webhook function with a fresh database of one org.
async fn open() -> (TestDatabase, TestWebhook, OrgId) {
    let database = TestDatabase::new().await;
    let webhook = TestWebhook::new(database.app(), &TestQueues::new().await);
    let org = database.org("Acme").await;
    (database, webhook, org)
}

fn content_type(reply: &Reply) -> &str {
    reply.headers["content-type"].to_str().unwrap()
}

/// D12: 400 only for a body that is not JSON, has no type, or has a stored type without a usable call id. The error is
/// clear and repeats no part of the body.
#[tokio::test]
async fn a_refusal_gives_its_reason() {
    let (database, webhook, org) = open().await;
    let call_id = json!({"message": {"type": "status-update", "status": "ended", "call": {"id": "hunter2 hunter2"}}});
    let mut problems = Map::new();
    for (name, body) in [
        ("not JSON", "{\"message\": hunter2}".to_owned()),
        ("no type", json!({"message": {"kind": "hunter2"}}).to_string()),
        ("a type that is no text", json!({"message": {"type": {"hunter2": 1}}}).to_string()),
        ("no usable call id", call_id.to_string()),
        ("not served", json!({"message": {"type": "voice-request", "text": "hunter2"}}).to_string()),
        ("larger than 5 MiB", format!("\"{}\"", "hunter2".repeat(750_000))),
    ] {
        let reply = webhook.post_bytes(org, body.into_bytes()).await;
        assert_eq!(content_type(&reply), "application/problem+json", "{name}");
        assert!(!reply.text.contains("hunter2"), "{name}: {}", reply.text);
        assert_eq!(reply.body["status"], json!(reply.status.as_u16()), "{name}");
        problems.insert(name.to_owned(), reply.body);
    }
    assert_snapshot!(format!("{:#}", json!(problems)));
    assert_eq!(database.count("processed_webhook_events").await, 0);
}

/// D6: without configuration, each interactive message is answered with a valid answer of its shape.
#[tokio::test]
async fn interactive_messages_are_answered_in_their_own_shape() {
    let (_database, webhook, org) = open().await;
    let endpointing = Call::default().message("call.endpointing.request", 0, json!({"messagesOpenAIFormatted": []}));
    let mut answers = Map::new();
    for (name, body) in [
        ("assistant-request", sample("assistant-request.inbound-twilio")),
        ("call.endpointing.request", endpointing),
        ("campaign.predial", sample("campaign.predial")),
        ("function-call", sample("function-call.legacy")),
        ("handoff-destination-request", sample("handoff-destination-request")),
        ("knowledge-base-request", sample("knowledge-base-request")),
        ("tool-calls", sample("tool-calls.multiple")),
        ("transfer-destination-request", sample("transfer-destination-request")),
    ] {
        let reply = webhook.post(org, &body).await;
        assert_eq!((reply.status.as_u16(), content_type(&reply)), (200, "application/json"), "{name}");
        answers.insert(name.to_owned(), reply.body);
    }
    assert_snapshot!(format!("{:#}", json!(answers)));
}

/// A4: a message that arrives twice is acknowledged twice and applied once.
#[tokio::test]
async fn a_redelivery_is_acknowledged_and_changes_nothing() {
    let (database, webhook, org) = open().await;
    let report = sample("end-of-call-report.inbound-full");
    assert_eq!(webhook.post(org, &report).await.body, json!({}));
    let before = database.everything_of(org).await;
    assert_eq!(webhook.post(org, &report).await.body, json!({}));
    assert_eq!(database.everything_of(org).await, before);
}

/// B8: both spellings of a final transcript's type are the same message.
#[tokio::test]
async fn both_transcript_literals_are_the_same_row() {
    let (database, webhook, org) = open().await;
    for name in ["transcript.user-final", "transcript-literal-final.user"] {
        assert_eq!(webhook.post(org, &sample(name)).await.status, 200, "{name}");
    }
    assert_eq!(database.count("call_transcripts").await, 1);
    assert_eq!(database.count("processed_webhook_events WHERE event_type = 'transcript'").await, 1);
}

/// B8: a partial transcript creates no row.
#[tokio::test]
async fn a_partial_transcript_makes_no_row() {
    let (database, webhook, org) = open().await;
    let before = database.everything_of(org).await;
    assert_eq!(webhook.post(org, &sample("transcript.user-partial")).await.body, json!({}));
    let partial = json!({"role": "user", "transcriptType": "partial", "transcript": "A vis"});
    assert_eq!(webhook.post(org, &Call::default().message("transcript", 0, partial)).await.body, json!({}));
    assert_eq!(database.everything_of(org).await, before);
}

/// D2: a report for an unknown call creates it completely.
#[tokio::test]
async fn a_report_for_an_unknown_call_creates_it() {
    let (database, webhook, org) = open().await;
    let call = Call::default();
    assert_eq!(webhook.post(org, &call.report(60_000, json!({}))).await.status, 200);
    let found = "SELECT concat_ws(' ', l.status, l.duration_seconds, l.cost, l.summary, c.reason_family,
            c.recording_state, t.answered)
        FROM call_logs l JOIN call_tracking t USING (org_id, vapi_call_id) JOIN calls c USING (org_id, vapi_call_id)";
    let expected = "completed 17 0.037 Wants a visit. customer-ended linked t";
    assert_eq!(database.text(found).await.as_deref(), Some(expected));
}

/// C3: a body of the maximum size of a Lambda request, half of which are escapes, is stored completely.
#[tokio::test]
async fn a_body_of_4_4_megabytes_full_of_escapes_is_stored() {
    let (database, webhook, org) = open().await;
    let said = "\"\n".repeat(1_100_000);
    let body = Call::default().report(60_000, json!({"artifact": {"transcript": said}}));
    assert!(body.to_string().len() > 4_400_000);
    assert_eq!(webhook.post(org, &body).await.status, 200);
    let hash = database.text("SELECT encode(sha256(convert_to(transcript, 'UTF8')), 'hex') FROM call_logs").await;
    assert_eq!(hash, Some(hex::encode(<sha2::Sha256 as sha2::Digest>::digest(said))));
}

/// D5: the platform key authenticates at the platform URL. The org of an event is found by the registered ids (D13).
#[tokio::test]
async fn the_platforms_url_takes_the_platforms_key() {
    let (database, webhook, org) = open().await;
    let call = Call::default();
    database.agent(org, call.assistant.as_deref().unwrap()).await;
    assert_eq!(webhook.post_platform(&call.status("in-progress", 0)).await.body, json!({}));
    assert_eq!(database.count(&format!("call_logs WHERE org_id = '{org}'")).await, 1);

    let retired = masters().mint(ringfence_identity::Subject::Platform, 2);
    let headers = [("x-vapi-secret", retired.expose())];
    let reply = webhook.send(None, &headers, call.status("ended", 1).to_string().into_bytes()).await;
    assert_eq!(reply.status, 401);
    assert_eq!(database.count("processed_webhook_events").await, 1);
}

/// Names of an answer's fields, or the code of a problem.
fn shape(reply: &Reply) -> String {
    match &reply.body["code"] {
        Value::String(code) => code.clone(),
        _ => reply.body.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(","),
    }
}
