//! Every sample body and the design's table.

use ringfence_harness::testing::{TestDatabase, TestQueues, TestWebhook, sample, sample_bytes, sample_names};
use ringfence_vapi::{Function, OrgId};
use serde_json::json;
use strum::IntoEnumIterator as _;

use super::{open, shape};

/// Sample, status, answer (the names of its fields, or the code of a problem), and effects in the database.
const TABLE: [(&str, u16, &str, &str); 49] = [
    ("assistant-request.inbound-twilio", 200, "error", ""),
    ("assistant-request.inbound-vapi-number", 200, "error", ""),
    ("assistant.started", 200, "", "claim assistant.started"),
    ("call.artifact.upload", 200, "", "claim call.artifact.upload, 3 rows unknown"),
    ("call.deleted", 200, "", ""),
    ("campaign.predial", 200, "eligible", ""),
    ("chat.created", 200, "", ""),
    ("conversation-update", 200, "", ""),
    ("end-of-call-report.duplicate-1-preliminary", 200, "", "claim end-of-call-report, 3 rows completed, 7 turns"),
    ("end-of-call-report.duplicate-2-final", 200, "", "claim end-of-call-report, 3 rows completed, 7 turns"),
    ("end-of-call-report.inbound-full", 200, "", "claim end-of-call-report, 3 rows completed, 7 turns"),
    ("end-of-call-report.inbound-no-recording", 200, "", "claim end-of-call-report, 3 rows completed, 7 turns"),
    ("end-of-call-report.large", 200, "", "claim end-of-call-report, 3 rows completed, 900 turns"),
    ("end-of-call-report.minimal-required", 400, "RF4004", ""),
    ("end-of-call-report.outbound-full", 200, "", "claim end-of-call-report, 3 rows completed, 3 turns"),
    ("end-of-call-report.outbound-no-answer", 200, "", "claim end-of-call-report, 3 rows completed"),
    ("end-of-call-report.web-full", 200, "", "claim end-of-call-report, 3 rows completed, 7 turns"),
    ("function-call.legacy", 200, "result", ""),
    ("handoff-destination-request", 200, "error", ""),
    ("hang", 200, "", "claim hang"),
    ("knowledge-base-request", 200, "documents", ""),
    ("language-change-detected", 200, "", "claim language-change-detected"),
    ("malformed.call-missing", 400, "RF4004", ""),
    ("malformed.type-missing", 400, "RF4003", ""),
    ("model-output.object", 200, "", ""),
    ("phone-call-control.hang-up", 200, "", ""),
    ("session.created", 200, "", ""),
    ("speech-update.assistant-started", 200, "", ""),
    ("speech-update.user-started", 200, "", ""),
    ("speech-update.user-stopped", 200, "", ""),
    ("status-update.ended", 200, "", "claim status-update, 3 rows completed"),
    ("status-update.ended-no-answer", 200, "", "claim status-update, 3 rows completed"),
    ("status-update.forwarding", 200, "", "claim status-update, 3 rows forwarding"),
    ("status-update.in-progress", 200, "", "claim status-update, 3 rows in-progress"),
    ("status-update.queued", 200, "", "claim status-update, 3 rows queued"),
    ("status-update.ringing", 200, "", "claim status-update, 3 rows ringing"),
    ("tool-calls.multiple", 200, "results", ""),
    ("tool-calls.single", 200, "results", ""),
    ("transcript-literal-final.user", 200, "", "claim transcript, 3 rows in-progress, user spoke"),
    ("transcript.assistant-final", 200, "", "claim transcript, 3 rows in-progress, assistant spoke"),
    ("transcript.user-final", 200, "", "claim transcript, 3 rows in-progress, user spoke"),
    ("transcript.user-partial", 200, "", ""),
    ("transfer-destination-request", 200, "error", ""),
    ("transfer-update.number", 200, "", "claim transfer-update"),
    ("unknown.future-type", 200, "", ""),
    ("user-interrupted", 200, "", "claim user-interrupted"),
    ("voice-input", 200, "", ""),
    ("wild.end-of-call-report.carries-secrets", 200, "", "claim end-of-call-report, 3 rows completed, 7 turns"),
    ("wild.tool-calls.arguments-object", 200, "results", ""),
];

/// Effects of an org's events in the database. More than one claim or spoken text would fail the query.
async fn effects(database: &TestDatabase, org: OrgId) -> String {
    let query = format!(
        "concat_ws(', ',
            (SELECT 'claim ' || event_type FROM processed_webhook_events WHERE org_id = '{org}'),
            (SELECT count(*) || ' rows ' || string_agg(DISTINCT status, '/') FROM (
                SELECT status FROM call_logs WHERE org_id = '{org}'
                UNION ALL SELECT status FROM call_tracking WHERE org_id = '{org}'
                UNION ALL SELECT status FROM calls WHERE org_id = '{org}') AS call_rows),
            (SELECT speaker || ' spoke' FROM call_transcripts WHERE org_id = '{org}' AND source = 'transcript'),
            (SELECT count(*) || ' turns' FROM call_transcripts WHERE org_id = '{org}' AND source = 'report' HAVING count(*) > 0))"
    );
    database.text(&query).await.unwrap()
}

/// B8, D12: every body of Vapi is answered and stored as in the table, none with 5xx, and none is queued.
#[tokio::test]
async fn every_sample_is_answered_and_stored_by_the_table() {
    let (database, queues) = (TestDatabase::new().await, TestQueues::new().await);
    let webhook = TestWebhook::new(database.app(), &queues);
    assert_eq!(sample_names(), TABLE.map(|(name, ..)| name), "each sample has its line");
    for (name, status, answer, effect) in TABLE {
        let org = database.org(name).await;
        let reply = webhook.post_bytes(org, sample_bytes(name)).await;
        let found = (reply.status.as_u16(), shape(&reply), effects(&database, org).await);
        assert_eq!(found, (status, answer.to_owned(), effect.to_owned()), "{name}");
    }
    for function in Function::iter() {
        assert!(queues.take(function).await.records.is_empty(), "{function} has something waiting");
    }
}

/// D1, C3: whole calls, message after message as Vapi sends them, result in one completed call each.
#[tokio::test]
async fn whole_calls_of_samples_end_completed() {
    for (name, expected) in [
        ("inbound-happy-path", "completed inbound customer-ended user said Hi,"),
        ("outbound-no-answer", "completed outbound not-reached"),
    ] {
        let (database, webhook, org) = open().await;
        for delivery in sample(&format!("sequences/{name}"))["deliveries"].as_array().unwrap() {
            let reply = webhook.post(org, &delivery["body"]).await;
            assert_eq!(reply.status, 200, "{name}: {}", delivery["sample"]);
        }
        let found = "SELECT concat_ws(' ', l.status, l.direction, c.reason_family,
                (SELECT speaker || ' said ' || left(text, 3) FROM call_transcripts))
            FROM call_logs l JOIN call_tracking t USING (org_id, vapi_call_id, status)
                JOIN calls c USING (org_id, vapi_call_id, status)";
        assert_eq!(database.text(found).await.as_deref(), Some(expected), "{name}");
    }
}

/// Invariant 5: raw bodies contain credentials, none of which are stored.
#[tokio::test]
async fn a_report_that_carries_secrets_leaves_none_in_the_database() {
    let (database, webhook, org) = open().await;
    let body = sample("wild.end-of-call-report.carries-secrets");
    assert_eq!(webhook.post(org, &body).await.body, json!({}));
    let kept = database.everything_of(org).await;
    assert!(kept["call_logs"].contains("completed"));
    for secret in ["not-a-real-secret", "not-a-real-token-0000000000000000", "not-a-real-tool-secret", "X-Amz"] {
        assert!(body.to_string().contains(secret), "the sample has no {secret}");
        for (table, rows) in &kept {
            assert!(!rows.contains(secret), "{secret} in {table}");
        }
    }
}
