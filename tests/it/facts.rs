//! E2, E4: unknown facts are NULL, and the facts that Vapi sends are in the rows.

use ringfence_harness::testing::database::apply;
use ringfence_harness::testing::{Call, TestDatabase};
use ringfence_vapi::OrgId;
use serde_json::{Value, json};

/// A fresh database of one org.
async fn open() -> (TestDatabase, OrgId) {
    let database = TestDatabase::new().await;
    let org = database.org("Acme").await;
    (database, org)
}

/// Conversation as rows: speaker and text of each turn, in order.
async fn conversation(database: &TestDatabase) -> Vec<String> {
    let query = "SELECT coalesce(jsonb_agg(t.speaker || ': ' || t.text ORDER BY t.position, t.said_at), '[]') FROM call_transcripts t";
    serde_json::from_str(&database.text(query).await.unwrap()).unwrap()
}

fn messages() -> Value {
    json!([
        {"role": "system", "message": "secret prompt", "time": 1_789_398_135_480_i64},
        {"role": "bot", "message": "How can I help?", "time": 1_789_398_136_580_i64},
        {"role": "user", "message": "A visit, please.", "time": 1_789_398_139_480_i64},
        {"role": "tool_calls", "message": "", "time": 1_789_398_140_000_i64, "toolCalls": [
            {"id": "t1", "type": "function", "function": {"name": "book", "arguments": "{\"day\": 12345678901234567890}"}}]},
        {"role": "tool_call_result", "name": "book", "toolCallId": "t1", "result": "Booked.", "time": 1_789_398_141_000_i64},
    ])
}

/// E2: a call that goes on, and one whose report has no times, have no duration. Neither does one that ended before it
/// began.
#[tokio::test]
async fn an_unknown_duration_is_null() {
    let (database, org) = open().await;
    let nothing = json!({"durationSeconds": null, "startedAt": null, "endedAt": null});
    let backwards =
        json!({"durationSeconds": null, "startedAt": "2026-09-14T15:02:30Z", "endedAt": "2026-09-14T15:02:20Z"});
    let calls: Vec<_> = (0..4).map(|_| Call::default()).collect();
    let events = [
        calls[0].status("in-progress", 4_000),
        calls[1].report(24_000, nothing),
        calls[2].report(24_000, backwards),
        calls[3].status("ended", 4_000),
        calls[3].status("in-progress", 9_000),
    ];
    database.apply(org, &events).await;
    for table in ["call_logs", "call_tracking", "calls"] {
        assert_eq!(database.count(&format!("{table} WHERE duration_seconds IS NULL")).await, 4, "{table}");
    }
}

/// E2: whether a call was answered is unknown until an event shows it.
#[tokio::test]
async fn an_unknown_answer_is_null() {
    let reason = |reason: &str| json!({"status": "ended", "endedReason": reason});
    let call = Call::default();
    let (ringing, busy) = (call.status("ringing", 0), call.message("status-update", 9_000, reason("customer-busy")));
    let (timed_out, running) =
        (call.message("status-update", 9_000, reason("silence-timed-out")), call.status("in-progress", 4_000));
    for (events, answered) in [
        (vec![&ringing], None),
        (vec![&ringing, &timed_out], None),
        (vec![&ringing, &busy], Some("false")),
        (vec![&busy, &ringing], Some("false")),
        (vec![&running, &busy], Some("true")),
        (vec![&busy, &running], Some("true")),
    ] {
        let (database, org) = open().await;
        let connection = database.app();
        for event in &events {
            apply(&connection, org, event).await;
        }
        let found = database.text("SELECT answered FROM call_tracking").await;
        assert_eq!(found.as_deref(), answered, "{events:?}");
    }
}

/// E4: structured outputs of several reports are one object by id, and the newest report decides an id.
#[tokio::test]
async fn structured_outputs_of_all_reports_are_kept() {
    let call = Call::default();
    let first = call.report(24_000, json!({"structuredOutputs": {"a": {"result": true}, "b": {"result": 1}}}));
    let second = call.report(27_000, json!({"artifact": {"structuredOutputs": [{"id": "b", "result": 2}]}}));
    for events in [[&first, &second], [&second, &first]] {
        let (database, org) = open().await;
        database.apply(org, &events.map(Clone::clone)).await;
        let found = database.text("SELECT structured_outputs FROM call_logs").await.unwrap();
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found, json!({"a": {"result": true}, "b": {"id": "b", "result": 2}}));
    }
}

/// E4: facts without a column of their own are in `details`, and parties and destination in their columns.
#[tokio::test]
async fn the_facts_of_messages_are_in_the_rows() {
    let (database, org) = open().await;
    let call = Call::default();
    let ended = json!({"status": "ended", "endedReason": "assistant-request-failed",
        "inboundPhoneCallDebuggingArtifacts": {"error": "Couldn't get an assistant."}});
    let report = json!({
        "analysis": {"structuredDataMulti": [{"intake": {"name": "Kim"}}, {"billing": {"due": 12.5}}]},
        "compliance": {"recordingConsent": {"type": "verbal", "grantedAt": "2026-09-14T15:02:20.000Z"}},
        "artifact": {
            "scorecards": {"s1": {"score": 7}},
            "transfers": [{"destination": {"number": "+15555550155"}, "status": "completed"}],
            "performanceMetrics": {"turnLatencyAverage": 1333.5, "turnLatencies": [{"turnLatency": 1333.5}]},
        },
        "customer": {"number": "+15555550142", "name": "Dana", "externalId": "crm-1"},
        "call": {"id": call.id, "type": "inboundPhoneCall", "campaignId": "c1"},
    });
    let forwarding = json!({"status": "forwarding", "destination": {"type": "number", "number": "+15555550155"}});
    let events = [
        call.message("status-update", 9_000, forwarding),
        call.message("status-update", 21_000, ended),
        call.report(24_000, report),
    ];
    database.apply(org, &events).await;
    let found: Value = serde_json::from_str(&database.text("SELECT details FROM call_logs").await.unwrap()).unwrap();
    let expected = json!({
        "structured_data_multi": [{"intake": {"name": "Kim"}}, {"billing": {"due": 12.5}}],
        "recording_consent": {"type": "verbal", "granted_at": "2026-09-14T15:02:20Z"},
        "scorecards": {"s1": {"score": 7}},
        "transfers": [{"destination": "+15555550155", "status": "completed"}],
        "performance": {"measures": {"turnLatencyAverage": 1333.5}, "turns": [{"turnLatency": 1333.5}]},
        "debugging": {"error": "Couldn't get an assistant."},
    });
    assert_eq!(found, expected);
    let columns = "SELECT concat_ws(' ', customer_name, customer_external_id, campaign_id, destination) FROM call_logs";
    assert_eq!(database.text(columns).await.as_deref(), Some("Dana crm-1 c1 +15555550155"));
}

/// E4: the conversation of a report is kept turn by turn, without prompts, if the org subscribes to no transcripts. A
/// later report replaces the conversation of an earlier one.
#[tokio::test]
async fn a_conversation_without_transcript_events_is_kept() {
    let expected = [
        "assistant: How can I help?",
        "user: A visit, please.",
        "tool_calls: book {\"day\": 12345678901234567890}",
        "tool_call_result: Booked.",
    ];
    let call = Call::default();
    let preliminary = call.report(24_000, json!({"artifact": {"messages": [{"role": "bot", "message": "How can"}]}}));
    let whole = call.report(27_000, json!({"artifact": {"messages": messages()}}));
    for events in [vec![&whole], vec![&preliminary, &whole], vec![&whole, &preliminary], vec![&whole, &whole]] {
        let (database, org) = open().await;
        let connection = database.app();
        for event in events {
            apply(&connection, org, event).await;
        }
        assert_eq!(conversation(&database).await, expected);
        let times = "call_transcripts WHERE source = 'report' AND said_at IS NOT NULL AND call_log_id = (SELECT id FROM call_logs)";
        assert_eq!(database.count(times).await, 4);
        assert_eq!(
            database
                .text("SELECT tool_calls #>> '{0,arguments}' FROM call_transcripts WHERE speaker = 'tool_calls'")
                .await
                .as_deref(),
            Some("{\"day\": 12345678901234567890}")
        );
        assert_eq!(database.count("processed_webhook_events WHERE event::text LIKE '%secret prompt%'").await, 0);
    }
}

/// E4: transcript events and a report do not double a conversation, whichever comes first. A transcript without words
/// makes no row and replaces nothing.
#[tokio::test]
async fn transcript_events_take_precedence_over_a_reports_conversation() {
    let call = Call::default();
    let (said, silence) = (call.transcript("A visit, please.", 9_000), call.transcript(" \n", 10_000));
    let report = call.report(24_000, json!({"artifact": {"messages": messages()}}));
    let late = call.status("in-progress", 4_000);
    for events in
        [vec![&said, &report], vec![&report, &said], vec![&report, &said, &late], vec![&said, &report, &silence]]
    {
        let (database, org) = open().await;
        let connection = database.app();
        for event in events {
            apply(&connection, org, event).await;
        }
        assert_eq!(conversation(&database).await, ["user: A visit, please."]);
    }
    let (database, org) = open().await;
    database.apply(org, std::slice::from_ref(&silence)).await;
    assert!(conversation(&database).await.is_empty());
    assert_eq!(database.count("call_logs WHERE status = 'in-progress'").await, 1);
    database.apply(org, &[report]).await;
    assert_eq!(conversation(&database).await.len(), 4);
}

/// E4: transcripts and reports that arrive at the same moment do not double a conversation.
#[tokio::test]
async fn a_report_beside_transcripts_doubles_nothing() {
    let (database, org) = open().await;
    let connections: Vec<_> = (0..5).map(|_| database.app()).collect();
    for round in 0..20 {
        let call = Call::default();
        apply(&connections[0], org, &call.status("in-progress", 0)).await;
        let mut events: Vec<_> = (0..4).map(|turn| call.transcript("Yes.", 1_000 * turn)).collect();
        events.insert(round % 5, call.report(24_000, json!({"artifact": {"messages": messages()}})));
        let applied = connections.iter().zip(&events).map(|(connection, event)| apply(connection, org, event));
        futures_util::future::join_all(applied).await;
    }
    assert_eq!(database.count("call_transcripts WHERE source = 'transcript'").await, 80);
    assert_eq!(database.count("call_transcripts WHERE source = 'report'").await, 0);
}

/// E2: the fragment of a number never replaces a whole number, and a withheld number is NULL and no lead.
#[tokio::test]
async fn a_fragment_or_a_placeholder_is_no_number() {
    let call = Call::default();
    let from = |number: &str| json!({"customer": {"number": number}});
    for fragment in ["+1", "anonymous", "+266696687"] {
        let with = |number: &str, at: i64| {
            let mut fields = from(number);
            fields["status"] = json!("ringing");
            [call.message("status-update", at, fields), call.report(24_000 + at, from(number))]
        };
        let (whole, part) = (with("+15555550142", 0), with(fragment, 100));
        for events in [[&whole[0], &part[1]], [&part[0], &whole[1]], [&part[1], &whole[0]], [&whole[1], &part[0]]] {
            let (database, org) = open().await;
            database.lead(org, "+15555550142").await;
            database.apply(org, &events.map(Clone::clone)).await;
            let found = "call_logs l JOIN call_tracking t USING (org_id, vapi_call_id) WHERE l.lead_id = t.lead_id
                AND l.from_number = '+15555550142' AND t.phone_number = '+15555550142'";
            assert_eq!(database.count(found).await, 1, "{fragment}");
        }
        let (database, org) = open().await;
        database.apply(org, &part).await;
        assert_eq!(database.count("call_logs WHERE from_number IS NULL AND lead_id IS NULL").await, 1, "{fragment}");
    }
}

/// E2: the SIP URI of the org's number is a number like others.
#[tokio::test]
async fn a_call_to_a_sip_uri_has_its_numbers() {
    let (database, org) = open().await;
    let call = Call::default();
    let parties = json!({"status": "in-progress",
        "phoneNumber": {"id": "pn-sip-1", "provider": "vapi", "sipUri": "sip:front-desk@sip.vapi.ai"},
        "customer": {"sipUri": "sip:sam@pbx.example.com", "name": "Sam"}});
    database.apply(org, &[call.message("status-update", 0, parties)]).await;
    let found = "SELECT from_number || ' ' || to_number FROM call_logs";
    assert_eq!(database.text(found).await.as_deref(), Some("sip:sam@pbx.example.com sip:front-desk@sip.vapi.ai"));
}
