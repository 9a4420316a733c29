//! E3: the calls of a number.

use std::time::Instant;

use jiff::Timestamp;
use ringfence_core::admin::RESOLVE_LIMIT;
use ringfence_harness::testing::Call;
use ringfence_protocol::admin::{NewAgent, Target};
use serde_json::{Value, json};

use super::erase;
use crate::recordings::Stage;

const NUMBER: &str = "+15555550142";

fn target(number: &str) -> Target {
    Target::Number(number.to_owned().into())
}

async fn post(stage: &Stage, bodies: &[Value]) {
    for body in bodies {
        assert_eq!(stage.webhook().post(stage.org, body).await.status, 200);
    }
}

/// E3: an erasure finds a call whose number only a final transcript or a timeline event names.
#[tokio::test]
async fn a_number_that_only_words_name_is_found() {
    let stage = Stage::new().await;
    let body = |call_id: &str, fields: Value| {
        let mut message = json!({"timestamp": 1_789_398_100_000_i64, "customer": {"number": NUMBER},
            "call": {"id": call_id, "type": "inboundPhoneCall"}});
        message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"message": message})
    };
    let said =
        json!({"type": "transcript", "transcriptType": "final", "role": "user", "transcript": "My name is Kim."});
    post(&stage, &[body("c1", said), body("c2", json!({"type": "assistant.started"}))]).await;
    let counted = erase(&stage, target(NUMBER), false).await;
    // The second call has no row, but an event.
    assert_eq!((counted.known.calls, counted.known.events), (2, 2));
    assert_eq!(erase(&stage, target(NUMBER), true).await.known, counted.known);
    assert_eq!(stage.database.count("processed_webhook_events").await, 0);
    assert_eq!(stage.database.count("erasures WHERE tombstone IN ('call:c1', 'call:c2')").await, 2);
}

/// E3: an erasure finds a call whose number changed, by each of its numbers.
#[tokio::test]
async fn a_number_that_the_call_had_at_first_is_found() {
    let stage = Stage::new().await;
    for number in [NUMBER, "+15555550999"] {
        let at = |number: &str| Call { id: "c1".to_owned(), customer: Some(number.to_owned()), ..Call::default() };
        let bodies = [at(NUMBER).status("ringing", 0), at("+15555550999").report(60_000, json!({"artifact": {}}))];
        post(&stage, &bodies).await;
        assert_eq!(erase(&stage, target(number), false).await.known.calls, 1, "{number}");
        assert_eq!(erase(&stage, target("+15555550111"), false).await.known.calls, 0);
        assert_eq!(erase(&stage, target(number), true).await.known.calls, 1, "{number}");
        assert_eq!(stage.database.count("call_logs").await, 0);
        stage.execute("DELETE FROM erasures").await;
    }
}

/// E3: when the events of a call are past their retention, its rows still find it, in each spelling.
#[tokio::test]
async fn a_call_without_events_is_found_by_its_rows() {
    let stage = Stage::new().await;
    for stored in [NUMBER, "15555550142", "tel:+15555550142", "sip:+15555550142@pbx.example.com"] {
        let call = Call { customer: Some(stored.to_owned()), ..Call::default() };
        post(&stage, &[call.status("in-progress", 0)]).await;
        stage.execute("DELETE FROM processed_webhook_events").await;
        assert_eq!(erase(&stage, target("+1 555 555 0142"), true).await.known.calls, 1, "{stored}");
        stage.execute("DELETE FROM erasures").await;
    }
    // A number that contains the other one is another person's.
    let longer = Call { customer: Some("+155555501423".to_owned()), ..Call::default() };
    post(&stage, &[longer.status("in-progress", 0)]).await;
    assert_eq!(erase(&stage, target(NUMBER), true).await.known.calls, 0);
}

/// E3, D3: an erasure deletes no unresolved event that belongs to another org, and none of its later calls.
#[tokio::test]
async fn an_erasure_leaves_the_unresolved_events_of_other_orgs() {
    let stage = Stage::new().await;
    let (other, admin) = (stage.database.org("Other").await, stage.database.admin().await);
    let nobodys = Call { assistant: Some("nobody".to_owned()), phone_number: None, ..Call::default() };
    let theirs = Call { assistant: Some("theirs".to_owned()), phone_number: None, ..Call::default() };
    let webhook = stage.webhook();
    for call in [&nobodys, &theirs] {
        assert_eq!(webhook.post_platform(&call.status("in-progress", 0)).await.status, 200);
    }
    // Registered without applying what waits: as between the two transactions of `agent add`.
    stage
        .execute(&format!(
            "INSERT INTO platform_directory (kind, ref, org_id) VALUES ('assistant', 'theirs', '{other}')"
        ))
        .await;
    assert_eq!(erase(&stage, target(NUMBER), false).await.known.unresolved, 1);
    assert_eq!(erase(&stage, target(NUMBER), true).await.known.unresolved, 1);
    assert_eq!(stage.text("SELECT string_agg(vapi_call_id, ',') FROM unresolved_events").await, theirs.id);
    assert_eq!(erase(&stage, Target::Call(theirs.id.clone()), true).await.known.unresolved, 0);

    assert_eq!(admin.apply_unresolved(None, Instant::now() + RESOLVE_LIMIT).await.unwrap().applied, 1);
    assert_eq!(stage.text("SELECT org_id::text FROM call_logs").await, other.to_string());
    // The erased call does not come back, whoever registers its assistant.
    assert_eq!(webhook.post_platform(&nobodys.status("in-progress", 0)).await.status, 200);
    assert_eq!(stage.database.count("unresolved_events").await, 0);
    let agent = NewAgent {
        name: "Desk".to_owned(),
        role: "inbound".to_owned(),
        assistant_id: Some("nobody".to_owned()),
        ..NewAgent::default()
    };
    admin.add_agent(other, &agent).await.unwrap();
    assert_eq!(webhook.post_platform(&nobodys.status("ended", 60_000)).await.status, 200);
    assert_eq!(stage.database.count("call_logs").await, 1);
}

/// E3: a tool call of an erased call, or of a call with an erased number that began before the erasure, is neither sent
/// nor stored. A call that begins afterwards may use tools.
#[tokio::test]
async fn an_erased_call_executes_no_tool_call() {
    use ringfence_harness::testing::TestEndpoint;
    use ringfence_harness::testing::endpoint::Manner;
    use ringfence_protocol::admin::{Tool, ToolKind};

    let stage = Stage::new().await;
    let endpoint = TestEndpoint::start(Manner::Answers(json!({"result": "Booked"}))).await;
    let tool = Tool {
        kind: ToolKind::Tool,
        name: "book".to_owned(),
        endpoint: endpoint.url.clone(),
        timeout_seconds: 10,
        is_idempotent: true,
    };
    stage.database.admin().await.set_tool(stage.org, &tool).await.unwrap();
    let ask = async |call: &Call, created_at: Timestamp| {
        let function = json!({"name": "book", "arguments": {}});
        let mut body = call.message(
            "tool-calls",
            0,
            json!({"toolCallList": [{"id": "t1", "type": "function", "function": function}]}),
        );
        body["message"]["call"]["createdAt"] = json!(created_at.to_string());
        stage.webhook().post(stage.org, &body).await.body["results"][0].clone()
    };
    let (before, erased, unknown) = (Timestamp::now(), Call::default(), Call::default());
    assert_eq!(ask(&erased, before).await["result"], "Booked");
    assert_eq!(erase(&stage, Target::Call(erased.id.clone()), true).await.known.tool_calls, 1);
    assert_eq!(ask(&erased, before).await["error"], "This call was erased.");
    erase(&stage, target(NUMBER), true).await;
    assert_eq!(ask(&unknown, before).await["error"], "This call was erased.");
    assert_eq!(endpoint.requests().len(), 1);
    assert_eq!(
        stage.text("SELECT string_agg(result ->> 'error', ',') FROM tool_executions").await,
        "This call was erased."
    );
    assert_eq!(ask(&Call::default(), Timestamp::now()).await["result"], "Booked");
}

/// E3: the tool calls of an erased chat are erased, and later ones refused.
#[tokio::test]
async fn an_erased_chat_executes_no_tool_call() {
    let stage = Stage::new().await;
    let chat = "'{\"chat_id\": \"chat-1\", \"session_id\": \"session-1\"}'::jsonb";
    stage
        .execute(&format!(
            "INSERT INTO tools (org_id, kind, name, endpoint, timeout_seconds, is_idempotent)
        VALUES ('{}', 'tool', 'book', 'https://shop.example/book', 10, false)",
            stage.org
        ))
        .await;
    let claim = format!(
        "SELECT executions #>> '{{0,state}}' FROM claim_tool_calls_v1('{}', 1, {chat}, '{{t.hash}}',
        '[{{\"execution_id\": \"tool-calls:chat-1:t1\", \"tool\": \"book\"}}]', now(), gen_random_uuid())",
        stage.org
    );
    assert_eq!(stage.text(&claim).await, "claimed");
    let admin = stage.database.admin().await;
    assert_eq!(admin.chats_of_number(stage.org, &["t.hash".to_owned()], Timestamp::now()).await.unwrap(), ["chat-1"]);
    for (id, tool_calls) in [("chat-1", 1), ("session-1", 0)] {
        assert_eq!(erase(&stage, Target::Chat(id.to_owned()), false).await.known.tool_calls, tool_calls);
        assert_eq!(erase(&stage, Target::Chat(id.to_owned()), true).await.known.tool_calls, tool_calls);
        assert_eq!(stage.text(&claim).await, "done");
        let result = "SELECT concat_ws(' ', state, result ->> 'error', number_tombstones) FROM tool_executions";
        assert_eq!(stage.text(result).await, "done This call was erased.");
        stage.execute("DELETE FROM erasures").await;
    }
}
