//! E2, E4: the facts that messages have in several places and shapes.

use serde_json::{Value, json};

use super::{parse_json, report, sample_json, stored};
use crate::{Details, Event, ReasonFamily, Report, Sensitive, Turn};

fn message(message_type: &str, mut fields: Value) -> Value {
    fields["type"] = json!(message_type);
    if fields.get("call").is_none() {
        fields["call"] = json!({"id": "call-1"});
    }
    json!({ "message": fields })
}

fn read(fields: Value) -> Report {
    report(&message("end-of-call-report", fields))
}

fn outputs(fields: Value) -> Value {
    read(fields).structured_outputs.map_or(Value::Null, Sensitive::into_exposed)
}

fn details(event: Event) -> Value {
    let details = match event {
        Event::EndOfCallReport(report) => report.details,
        Event::CallEnded(update) | Event::CallStarted(update) => update.details,
        other => panic!("no details: {other:?}"),
    };
    details.map_or(Value::Null, |details| serde_json::to_value(details).unwrap())
}

/// The turns as `role: text`.
fn turns(report: &Report) -> Vec<String> {
    let line = |turn: &Turn| format!("{}: {}", turn.role, turn.text.as_ref().map_or("-", |text| text.expose()));
    report.conversation.iter().map(line).collect()
}

/// E4: structured outputs are read in all four places. The first place decides an output that several have.
#[test]
fn structured_outputs_are_read_wherever_they_are() {
    let output = |result: u8| json!({"name": "visit", "result": result});
    let whole = json!({
        "structuredOutputs": {"a": output(1)},
        "artifact": {"structuredOutputs": {"a": output(2), "b": output(2)}},
        "analysis": {"structuredOutputs": {"b": output(3), "c": output(3)}},
        "call": {"id": "call-1", "structuredOutputs": {"c": output(4), "d": output(4)}},
    });
    assert_eq!(outputs(whole), json!({"a": output(1), "b": output(2), "c": output(3), "d": output(4)}));
    for place in ["message", "artifact", "analysis", "call"] {
        let mut fields = json!({"call": {"id": "call-1"}});
        match place {
            "message" => fields["structuredOutputs"] = json!({"a": output(1)}),
            _ => fields[place]["structuredOutputs"] = json!({"a": output(1)}),
        }
        assert_eq!(outputs(fields), json!({"a": output(1)}), "{place}");
    }
}

/// E4: an object by id, a list, and text with JSON are the same outputs.
#[test]
fn structured_outputs_have_three_shapes() {
    let by_id = json!({"a": {"id": "a", "name": "visit", "result": [true, 0.25]}});
    let list = json!([{"id": "a", "name": "visit", "result": [true, 0.25]}]);
    for shape in [by_id.clone(), list.clone(), json!(by_id.to_string()), json!(list.to_string())] {
        assert_eq!(outputs(json!({"structuredOutputs": shape})), by_id, "{shape}");
    }
    let unnamed = json!([{"result": 1}, {"name": "visit"}, {"structuredOutputId": "b"}, 7]);
    let expected = json!({"0": {"result": 1}, "visit": {"name": "visit"}, "b": {"structuredOutputId": "b"}, "3": 7});
    assert_eq!(outputs(json!({"structuredOutputs": unnamed})), expected);
    for nothing in [json!({}), json!([]), json!(""), json!("{}"), Value::Null] {
        assert_eq!(outputs(json!({"structuredOutputs": nothing})), Value::Null, "{nothing}");
    }
}

/// E4: the facts of a report that have no column of their own.
#[test]
fn a_report_has_details() {
    let found = details(stored(&sample_json("end-of-call-report.inbound-full")).event);
    let measure = &found["performance"]["measures"];
    assert_eq!((&measure["turnLatencyAverage"], &measure["numAssistantInterrupted"]), (&json!(1333.5), &json!(1)));
    assert_eq!(found["performance"]["turns"][0]["transcriberLatency"], json!(88.5));

    let report = message(
        "end-of-call-report",
        json!({
            "analysis": {"structuredDataMulti": [{"intake": {"name": "Kim"}}, {"billing": {"due": 12.5}}]},
            "compliance": {"recordingConsent": {"type": "verbal", "grantedAt": "2026-09-14T15:02:20.000Z"}},
            "artifact": {
                "scorecards": {"s1": {"score": 7}},
                "transfers": [
                    {"destination": {"type": "number", "number": "+15555550155"}, "mode": "blind-transfer",
                        "status": "completed", "transcript": "Operator: Hello.", "messages": [{"role": "user"}]},
                    {},
                ],
                "performanceMetrics": {"turnLatencies": [{}, {"modelLatency": "soon"}], "note": "x"},
            },
        }),
    );
    let expected = json!({
        "structured_data_multi": [{"intake": {"name": "Kim"}}, {"billing": {"due": 12.5}}],
        "recording_consent": {"type": "verbal", "granted_at": "2026-09-14T15:02:20Z"},
        "scorecards": {"s1": {"score": 7}},
        "transfers": [{"destination": "+15555550155", "mode": "blind-transfer", "status": "completed"}],
    });
    assert_eq!(details(stored(&report).event), expected);
    assert_eq!(read(json!({"artifact": {"scorecards": {}, "transfers": []}, "analysis": {}})).details, None);
    let destination = json!({"destination": {"type": "sip", "sipUri": "sip:desk@pbx.example.com"}});
    assert_eq!(read(destination).destination.unwrap().expose(), "sip:desk@pbx.example.com");
}

/// E4: why an inbound call was not accepted, without the server's response and without anything like a credential.
#[test]
fn debugging_artifacts_are_kept_without_credentials() {
    let artifacts = json!({
        "error": "Couldn't get an assistant.",
        "assistantRequestError": "x".repeat(2_000),
        "assistantRequestResponse": {"assistant": {"server": {"secret": "hunter2"}}},
        "attempts": 2,
        "serverSecret": "hunter2",
        "Authorization": "Bearer hunter2",
        "": null,
    });
    let update = json!({"status": "ended", "inboundPhoneCallDebuggingArtifacts": artifacts});
    let found = details(stored(&message("status-update", update)).event);
    let expected = json!({"debugging": {"error": "Couldn't get an assistant.", "attempts": "2",
        "assistantRequestError": "x".repeat(1_000)}});
    assert_eq!(found, expected);
}

/// E4: the conversation is kept turn by turn: roles, times, texts and tool calls, and never a prompt.
#[test]
fn a_report_has_its_conversation() {
    let report = report(&sample_json("end-of-call-report.inbound-full"));
    assert_eq!(
        turns(&report),
        [
            "assistant: Acme Plumbing, how can I help?",
            "user: Hi, my water heater is leaking. Can someone come tomorrow?",
            "tool_calls: -",
            "tool_call_result: Booked for Tuesday at 10:00.",
            "assistant: You are booked for Tuesday at ten in the morning.",
            "user: Great, thank you. Bye.",
            "assistant: Goodbye!",
        ]
    );
    let turn = serde_json::to_value(&report.conversation[2]).unwrap();
    let arguments = r#"{"date": "2026-09-15", "time": "10:00", "name": "Sam Example"}"#;
    let call = json!({"id": "call_Qm3vT7aXw2", "name": "book_appointment", "arguments": arguments});
    let expected =
        json!({"position": 3, "role": "tool_calls", "said_at": "2026-09-14T15:02:23.68Z", "tool_calls": [call]});
    assert_eq!(turn, expected);
    assert_eq!(report.conversation[3].tool_calls[0].id.as_deref(), Some("call_Qm3vT7aXw2"));
}

/// E4: a list without turns does not hide the next one. The format of `OpenAI` has the same turns without times.
#[test]
fn the_first_list_with_turns_counts() {
    let prompt = json!({"role": "system", "message": "secret", "content": "secret"});
    let formatted = json!([prompt, {"role": "user", "content": [{"type": "text", "text": "When do you open?"}]},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "t1", "function": {"name": "hours", "arguments": {"day": 1}}}]},
        {"role": "tool", "tool_call_id": "t1", "content": "At nine."}, {"role": "assistant", "content": "At nine."}]);
    let expected = ["user: When do you open?", "assistant: -", "tool_call_result: At nine.", "assistant: At nine."];
    for empty in [json!([]), json!([prompt]), json!([{"role": "bot", "message": " "}]), json!("none")] {
        let report = read(json!({"artifact": {"messages": empty, "messagesOpenAIFormatted": formatted}}));
        assert_eq!(turns(&report), expected, "{empty}");
        let call = &report.conversation[1].tool_calls[0];
        assert_eq!(call.arguments.as_ref().unwrap().expose(), r#"{"day":1}"#);
    }
}

/// E4: the number of turns and the length of a text are bounded.
#[test]
fn a_conversation_is_bounded() {
    let long = json!({"role": "user", "message": "é".repeat(20_000)});
    let report = read(json!({"artifact": {"messages": vec![long; 2_100]}}));
    assert_eq!(report.conversation.len(), 2_000);
    assert_eq!(report.conversation[0].text.as_ref().unwrap().expose().chars().count(), 16_000);
}

/// E4: a transcript that is a list is joined to one text.
#[test]
fn a_transcript_may_be_a_list() {
    for (list, text) in [
        (json!(["AI: Hello.", "User: Hi."]), "AI: Hello.\nUser: Hi."),
        (
            json!([{"role": "system", "message": "secret"}, {"role": "bot", "message": "Hello."},
                {"role": "user", "content": "Hi."}, {"role": "operator", "text": "Yes?"}, {"text": "."}, 7, ""]),
            "AI: Hello.\nUser: Hi.\noperator: Yes?\n.",
        ),
    ] {
        assert_eq!(read(json!({"transcript": list})).transcript.unwrap().expose(), text);
        assert_eq!(
            read(json!({"transcript": [], "artifact": {"transcript": list}})).transcript.unwrap().expose(),
            text
        );
    }
    assert_eq!(read(json!({"transcript": []})).transcript, None);
}

/// E4: a recording that is a text is the link to the mono recording.
#[test]
fn a_recording_may_be_a_link() {
    let link = "https://s.example/m.wav";
    for fields in [
        json!({"artifact": {"recording": link}}),
        json!({"recording": link}),
        json!({"artifact": {"recording": {"mono": {"combinedUrl": link}}}}),
    ] {
        let body = message("end-of-call-report", fields.clone());
        let found = report(&body);
        assert_eq!(found.recording_url.unwrap().expose(), link, "{fields}");
        assert_eq!(serde_json::to_value(found.recordings).unwrap(), json!(["mono"]), "{fields}");
        assert_eq!(parse_json(&body).unreadable, [""; 0], "{fields}");
    }
}

/// E4: a reason of any length has its family.
#[test]
fn a_long_reason_keeps_its_beginning_and_its_family() {
    let reason = format!("customer-ended-call{}", "é".repeat(5_000));
    for fields in [json!({"endedReason": reason}), json!({"call": {"id": "call-1", "endedReason": reason}})] {
        let report = read(fields);
        assert_eq!(report.reason_family, Some(ReasonFamily::CustomerEnded));
        assert_eq!(report.ended_reason.unwrap().chars().count(), 1_000);
    }
    let update = stored(&message("status-update", json!({"status": "ended", "endedReason": reason})));
    let Event::CallEnded(update) = update.event else { panic!("not ended") };
    assert_eq!(update.reason_family, Some(ReasonFamily::CustomerEnded));
}

/// E2, E4: the parties of a call.
#[test]
fn the_parties_are_read_wherever_they_are() {
    let call = |fields: Value| serde_json::to_value(stored(&message("hang", fields)).event.call()).unwrap();
    let sip = call(
        json!({"phoneNumber": {"sipUri": "sip:front-desk@sip.vapi.ai"}, "customer": {"sipUri": "sip:sam@pbx.example.com"}}),
    );
    assert_eq!(sip["our_number"], "sip:front-desk@sip.vapi.ai");
    assert_eq!(sip["customer_number"], "sip:sam@pbx.example.com");
    let snapshot = json!({"id": "call-1", "campaignId": "c1", "phoneNumber": {"sipUri": "sip:desk@sip.vapi.ai"},
        "customer": {"number": "+15555550142", "name": "Dana", "externalId": "crm-1"}});
    let found = call(json!({"call": snapshot, "customer": {"number": "+1"}}));
    assert_eq!(found["our_number"], "sip:desk@sip.vapi.ai");
    assert_eq!(found["customer_number"], "+15555550142", "a fragment does not hide the number");
    let names = [&found["customer_name"], &found["customer_external_id"], &found["campaign_id"]];
    assert_eq!(names, ["Dana", "crm-1", "c1"]);
    let withheld = call(json!({"customer": {"number": "+266696687"}}));
    assert_eq!(withheld.get("customer_number"), None);
}

/// E2: a transcript without words has none.
#[test]
fn white_space_is_no_transcript() {
    for text in [json!(""), json!(" \n\u{a0}"), json!(null), json!(7), json!([])] {
        let body = message("transcript", json!({"role": "user", "transcriptType": "final", "transcript": text}));
        let Event::Transcript(transcript) = stored(&body).event else { panic!("not a transcript") };
        assert_eq!(transcript.text.expose(), "", "{text}");
    }
}

/// E4: every new fact is part of the event key.
#[test]
fn each_fact_changes_the_key() {
    let whole = json!({
        "structuredOutputs": {"a": 1}, "destination": {"type": "number", "number": "+15555550155"},
        "analysis": {"structuredDataMulti": [1]}, "compliance": {"recordingConsent": {"type": "verbal"}},
        "artifact": {"messages": [{"role": "user", "message": "Hi."}], "scorecards": {"s": 1},
            "transfers": [{"status": "completed"}], "performanceMetrics": {"turnLatencyAverage": 1}},
        "customer": {"name": "Dana", "externalId": "crm-1"}, "call": {"id": "call-1", "campaignId": "c1"},
    });
    let key = |fields: Value| stored(&message("end-of-call-report", fields)).key;
    for pointer in [
        "/structuredOutputs",
        "/destination",
        "/analysis",
        "/compliance",
        "/artifact/messages",
        "/artifact/scorecards",
        "/artifact/transfers",
        "/artifact/performanceMetrics",
        "/customer/name",
        "/customer/externalId",
        "/call/campaignId",
    ] {
        let mut without = whole.clone();
        *without.pointer_mut(pointer).unwrap() = Value::Null;
        assert_ne!(key(without), key(whole.clone()), "{pointer}");
    }
    let details = Details::default();
    assert_eq!(serde_json::to_value(details).unwrap(), json!({}));
}
