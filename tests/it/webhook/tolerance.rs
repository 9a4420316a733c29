//! Invalid input.

use ringfence_harness::testing::Call;
use serde_json::json;

use super::open;

/// D12: a field of a wrong type is treated as absent, and the rest of the report is stored.
#[tokio::test]
async fn odd_fields_do_not_lose_a_report() {
    for (field, value) in [
        ("cost", json!("free")),
        ("cost", json!(-1)),
        ("cost", json!({"total": [1]})),
        ("costBreakdown", json!("none")),
        ("durationSeconds", json!([17])),
        ("durationSeconds", json!(1e300)),
        ("endedReason", json!(42)),
        ("startedAt", json!({"at": "noon"})),
        ("endedAt", json!("noon")),
        ("analysis", json!("a summary")),
        ("artifact", json!([1, 2])),
        ("customer", json!(5_555_550_142_i64)),
        ("phoneNumber", json!(["+15555550100"])),
        ("timestamp", json!("soon")),
        ("endedReason", json!("x".repeat(100_000))),
    ] {
        let (database, webhook, org) = open().await;
        let report = Call::default().report(60_000, json!({field: value}));
        assert_eq!(webhook.post(org, &report).await.status, 200, "{field}");
        // Each of these values is in several fields, of which at most two are invalid at a time.
        let known =
            "SELECT num_nonnulls(cost, duration_seconds, ended_reason, summary, transcript, recording_url, from_number)
            FROM call_logs WHERE status = 'completed'";
        let known: usize = database.text(known).await.unwrap_or_default().parse().unwrap_or_default();
        assert!(known >= 5, "{field}: only {known} of 7 facts were kept");
    }
}

/// D12: an out-of-range number, a duplicate field and a hundred thousand nested lists are in fields that Ringfence
/// ignores.
#[tokio::test]
async fn unread_fields_cannot_refuse_a_report() {
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for junk in ["1e999".to_owned(), r#"1,"junk":2"#.to_owned(), nested] {
        let (database, webhook, org) = open().await;
        let body = Call::default().report(60_000, json!({"junk": "JUNK"})).to_string().replace("\"JUNK\"", &junk);
        let reply = webhook.post_bytes(org, body.into_bytes()).await;
        assert_eq!(reply.status, 200, "{:.20}: {}", junk, reply.text);
        assert_eq!(database.count("call_logs WHERE summary = 'Wants a visit.'").await, 1, "{junk:.20}");
    }
}

/// D12: characters that PostgreSQL cannot store become U+FFFD: U+0000, lone surrogates, bytes that are not UTF-8.
#[tokio::test]
async fn unstorable_characters_become_the_replacement_character() {
    let (database, webhook, org) = open().await;
    let body = Call::default().transcript("[HERE]", 0).to_string();
    let text = br"nul \u0000 high \ud83d low \ude00 pair \ud83d\ude00 byte ";
    let mut bytes = body.split("[HERE]").next().unwrap().as_bytes().to_vec();
    bytes.extend_from_slice(text);
    bytes.push(0xff);
    bytes.extend_from_slice(body.split("[HERE]").nth(1).unwrap().as_bytes());
    assert_eq!(webhook.post_bytes(org, bytes).await.status, 200);
    let expected = "nul \u{fffd} high \u{fffd} low \u{fffd} pair \u{1f600} byte \u{fffd}";
    assert_eq!(database.text("SELECT text FROM call_transcripts").await.as_deref(), Some(expected));
    assert_eq!(database.text("SELECT event ->> 'text' FROM processed_webhook_events").await.as_deref(), Some(expected));
}

/// D12: a time before 2015 or more than a day ahead is treated as unknown, in every field.
#[tokio::test]
async fn times_that_cannot_be_are_unknown() {
    let (database, webhook, org) = open().await;
    let ahead = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(25)).as_millisecond();
    let odd = json!({
        "timestamp": ahead, "durationSeconds": 9,
        "startedAt": "1999-12-31T23:59:59Z", "endedAt": "2999-01-01T00:00:00Z",
    });
    assert_eq!(webhook.post(org, &Call::default().report(0, odd)).await.status, 200);
    let found = "SELECT concat_ws(' ', status, duration_seconds, started_at IS NULL, ended_at IS NULL,
        (SELECT message_time IS NULL FROM processed_webhook_events)) FROM call_logs";
    assert_eq!(database.text(found).await.as_deref(), Some("completed 9 t t t"));
}
