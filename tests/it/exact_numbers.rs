//! E4, E6: numbers keep their digits, numbers written as text count, and huge numbers stay small.

use std::time::{Duration, Instant};

use ringfence_core::console;
use ringfence_harness::testing::{TestDatabase, TestQueues, TestWebhook};
use ringfence_vapi::{Function, OrgId};
use serde_json::{Value, json};

const DIGITS: &str =
    r#"{"iccid":89440000000000012345,"order":123456789012345678901234,"plain":9007199254740993,"price":0.10}"#;

async fn open() -> (TestDatabase, TestWebhook, OrgId) {
    let database = TestDatabase::new().await;
    let webhook = TestWebhook::new(database.app(), &TestQueues::new().await);
    let org = database.org("Acme").await;
    (database, webhook, org)
}

/// A report with numbers in each field whose shape the org defines.
fn report(call: &str) -> Vec<u8> {
    let overrides = format!(r#"{{"metadata":{DIGITS}}}"#);
    format!(
        r#"{{"message":{{"type":"end-of-call-report","endedReason":"customer-ended-call","cost":0.3412,
            "durationSeconds":17,"call":{{"id":"{call}","assistantOverrides":{overrides}}},
            "costs":[{{"type":"model","cost":0.10,"promptTokens":12345678}}],
            "analysis":{{"structuredData":{DIGITS}}},
            "artifact":{{"structuredOutputs":{{"a":{{"result":{DIGITS}}}}}}}}}}}"#
    )
    .into_bytes()
}

/// The digits in a JSON value at a path of a row.
fn digits(value: &str) -> String {
    format!("concat_ws(' ', {value} ->> 'iccid', {value} ->> 'order', {value} ->> 'plain', {value} ->> 'price')")
}

const EXPECTED: &str = "89440000000000012345 123456789012345678901234 9007199254740993 0.10";

async fn assert_digits(database: &TestDatabase) {
    for value in ["structured_data", "(structured_outputs #> '{a,result}')", "metadata"] {
        let found = database.text(&format!("SELECT {} FROM call_logs", digits(value))).await;
        assert_eq!(found.as_deref(), Some(EXPECTED), "{value}");
    }
    let costs = "SELECT concat_ws(' ', cost, duration_seconds, costs #>> '{0,amounts,cost}', costs #>> '{0,amounts,promptTokens}') FROM call_logs";
    assert_eq!(database.text(costs).await.as_deref(), Some("0.3412 17 0.10 12345678"));
}

/// E4: numbers of 20 digits reach the row digit by digit.
#[tokio::test]
async fn digits_are_kept_from_the_webhook_to_the_row() {
    let (database, webhook, org) = open().await;
    assert_eq!(webhook.post_bytes(org, report("c1")).await.status, 200);
    assert_digits(&database).await;
    assert_eq!(webhook.post_bytes(org, report("c1")).await.status, 200);
    assert_eq!(database.count("processed_webhook_events").await, 1, "a redelivery has the same key");
}

/// E4: also by the retry queue, and in the console's JSON.
#[tokio::test]
async fn digits_survive_the_queue_and_the_console() {
    let (database, queues) = (TestDatabase::new().await, TestQueues::new().await);
    let org = database.org("Acme").await;
    let unavailable = TestWebhook::new(database.app_at(Some("127.0.0.1:1")), &queues);
    assert_eq!(unavailable.post_bytes(org, report("c1")).await.status, 200);
    let function = Function::EndOfCallReport;
    let batch = queues.take(function).await;
    let deadline = Instant::now() + Duration::from_mins(1);
    let response = queues.consumer(function, database.app()).consume(batch, deadline).await;
    assert!(response.batch_item_failures.is_empty());
    assert_digits(&database).await;

    let shown = console::call(&database.app(), org, "c1").await.unwrap().unwrap();
    let shown = serde_json::to_string(&shown).unwrap();
    assert_eq!(shown.matches("89440000000000012345").count(), 3, "{shown}");
    assert_eq!(shown.matches("123456789012345678901234").count(), 3, "{shown}");
}

/// E6: a number written as text counts: durations, costs, times.
#[tokio::test]
async fn a_number_written_as_text_counts() {
    let (database, webhook, org) = open().await;
    let report = |call: &str, facts: Value| {
        let mut message =
            json!({"type": "end-of-call-report", "call": {"id": call}, "endedReason": "customer-ended-call"});
        message.as_object_mut().unwrap().extend(facts.as_object().unwrap().clone());
        json!({ "message": message })
    };
    for (call, facts, expected) in [
        (
            "c1",
            json!({"durationSeconds": "42.7", "cost": "0.3412", "timestamp": "1789398156380"}),
            "43 0.3412 2026-09-14",
        ),
        ("c2", json!({"durationMs": "12900", "costBreakdown": {"total": "0.5", "llm": "0.25"}}), "13 0.5"),
        ("c3", json!({"durationMinutes": "0.5", "costs": [{"cost": "0.1"}, {"cost": 0.2}]}), "30 0.3"),
        ("c4", json!({"durationSeconds": "", "cost": "free"}), ""),
    ] {
        assert_eq!(webhook.post(org, &report(call, facts)).await.status, 200);
        let found = format!(
            "SELECT concat_ws(' ', l.duration_seconds, l.cost, (e.message_time AT TIME ZONE 'UTC')::date)
            FROM call_logs l JOIN processed_webhook_events e USING (org_id, vapi_call_id) WHERE l.vapi_call_id = '{call}'"
        );
        assert_eq!(database.text(&found).await.as_deref(), Some(expected), "{call}");
    }
    let part = "SELECT cost_breakdown ->> 'llm' FROM call_logs WHERE vapi_call_id = 'c2'";
    assert_eq!(database.text(part).await.as_deref(), Some("0.25"));
}

/// E4: a quarter of a megabyte of numbers like `1e308` does not become megabytes, and a number that PostgreSQL cannot
/// store loses nothing else.
#[tokio::test]
async fn huge_numbers_stay_small() {
    let (database, webhook, org) = open().await;
    let flood = format!("[{}]", vec!["1e308"; 42_000].join(","));
    let body = |call: &str, data: &str| {
        format!(
            r#"{{"message":{{"type":"end-of-call-report","call":{{"id":"{call}","metadata":{data}}},"durationSeconds":5,
                "analysis":{{"structuredData":{data}}},"costBreakdown":{{"llm":{data},"total":1e-300,"x":1e300}}}}}}"#
        )
        .into_bytes()
    };
    let mixed = r#"{"a":1e308,"b":1e999999,"c":[1e-999999,2],"d":"x"}"#;
    for (call, data) in [("c1", format!(r#"{{"a":{flood}}}"#)), ("c2", mixed.to_owned())] {
        assert_eq!(webhook.post_bytes(org, body(call, &data)).await.status, 200);
    }
    assert_eq!(database.count("call_logs WHERE duration_seconds = 5").await, 2);
    assert_eq!(database.count("call_logs WHERE vapi_call_id = 'c1' AND structured_data IS NULL").await, 1);
    let sizes = "SELECT max(length(l::text) + length(e.event::text)) < 20000
        FROM call_logs l JOIN processed_webhook_events e USING (org_id, vapi_call_id)";
    assert_eq!(database.text(sizes).await.as_deref(), Some("true"));
    let rest = "SELECT (structured_data - 'a')::text FROM call_logs WHERE vapi_call_id = 'c2'";
    assert_eq!(database.text(rest).await.as_deref(), Some(r#"{"c": [null, 2], "d": "x"}"#));
}

/// E4: a quarter of a megabyte of numbers with long exponents, under many names and in many items, does not become
/// megabytes in a row or in the console's page of the call.
#[tokio::test]
async fn many_numbers_stay_small() {
    let (database, webhook, org) = open().await;
    for number in ["1e308", "1e-38", "1e9", "1e-300"] {
        let names = |count: usize| {
            let names: Vec<_> = (0..count).map(|index| format!(r#""n{index}":{number}"#)).collect();
            format!("{{{}}}", names.join(","))
        };
        let list = |count: usize, of: &str| format!("[{}]", vec![of; count].join(","));
        let (breakdown, costs, turns) = (names(4_000), list(300, &names(20)), list(600, &names(20)));
        let call = format!("call-of-{number}");
        let body = format!(
            r#"{{"message":{{"type":"end-of-call-report","call":{{"id":"{call}"}},"durationSeconds":5,
                "costBreakdown":{breakdown},"costs":{costs},
                "artifact":{{"performanceMetrics":{{"turnLatencies":{turns}}},"scorecards":{{"a":{breakdown}}}}}}}}}"#
        );
        assert!(body.len() > 250_000, "{}", body.len());
        assert_eq!(webhook.post_bytes(org, body.clone().into_bytes()).await.status, 200);
        let page = console::call(&database.app(), org, &call).await.unwrap().unwrap();
        let page = serde_json::to_string(&page).unwrap();
        assert!(page.len() < 2 * body.len() + 300_000, "{number}: a page of {} bytes", page.len());
        let row = "SELECT max(length(l::text)) FROM call_logs l";
        let row: usize = database.text(row).await.unwrap().parse().unwrap();
        assert!(row < 1_000_000, "{number}: a row of {row} bytes");
    }
    assert_eq!(database.count("call_logs WHERE duration_seconds = 5").await, 4);
}
