//! E1: a tool call is executed once, and never gets another call's result. Model providers use the ids of tool calls
//! again.

use ringfence_harness::testing::endpoint::Manner;
use ringfence_harness::testing::webhook::TestWebhook;
use ringfence_harness::testing::{TestDatabase, TestEndpoint};
use ringfence_vapi::OrgId;
use serde_json::{Value, json};

use super::{agent, answer, open, tool, tool_call};

/// An org with the tools `book` and `cancel`, whose endpoint answers with the name and the arguments of each call.
async fn open_with_tools() -> (TestDatabase, TestWebhook, OrgId, TestEndpoint) {
    let (database, webhook, org) = open().await;
    let endpoint = TestEndpoint::start(Manner::Echoes).await;
    for name in ["book", "cancel"] {
        tool(&database, org, name, &endpoint.url, false).await;
    }
    (database, webhook, org, endpoint)
}

async fn results(webhook: &TestWebhook, org: OrgId, message: &Value) -> Vec<Value> {
    let answer = answer(message, &webhook.post(org, message).await);
    answer["results"].as_array().unwrap().clone()
}

/// The texts of the results.
async fn texts(webhook: &TestWebhook, org: OrgId, message: &Value) -> Vec<String> {
    let results = results(webhook, org, message).await;
    results.iter().map(|result| result["result"].as_str().unwrap().to_owned()).collect()
}

fn calls(conversation: &Value, calls: &Value) -> Value {
    let mut message = json!({"type": "tool-calls", "timestamp": 1_789_398_143_880_i64, "toolCallList": calls});
    message.as_object_mut().unwrap().extend(conversation.as_object().unwrap().clone());
    json!({ "message": message })
}

/// E1: the same id in a later turn, for another tool, in another call or in another chat is another execution. Each
/// gets its own result, also when it is delivered again.
#[tokio::test]
async fn an_id_that_comes_again_is_another_execution() {
    let (database, webhook, org, endpoint) = open_with_tools().await;
    let (monday, tuesday) = (json!({"day": "Monday"}), json!({"day": "Tuesday"}));
    let in_chat = |conversation: Value, arguments: &Value| {
        calls(&conversation, &json!([{"id": "call_0", "function": {"name": "book", "arguments": arguments}}]))
    };
    let messages = [
        (tool_call("c1", "call_0", "book", &monday), r#"book did {"day":"Monday"}"#),
        (tool_call("c1", "call_0", "book", &tuesday), r#"book did {"day":"Tuesday"}"#),
        (tool_call("c1", "call_0", "cancel", &monday), r#"cancel did {"day":"Monday"}"#),
        (tool_call("c2", "call_0", "book", &monday), r#"book did {"day":"Monday"}"#),
        (in_chat(json!({"chat": {"id": "h1", "sessionId": "s1"}}), &monday), r#"book did {"day":"Monday"}"#),
        (in_chat(json!({"chat": {"id": "h2", "sessionId": "s1"}}), &tuesday), r#"book did {"day":"Tuesday"}"#),
        (in_chat(json!({"session": {"id": "s1"}}), &monday), r#"book did {"day":"Monday"}"#),
    ];
    for delivery in 1..=2 {
        for (message, expected) in &messages {
            assert_eq!(texts(&webhook, org, message).await, [*expected], "delivery {delivery}: {message}");
        }
        assert_eq!(endpoint.requests().len(), messages.len(), "delivery {delivery}");
    }
    let keys: std::collections::BTreeSet<_> = endpoint
        .requests()
        .iter()
        .map(|request| request.headers["idempotency-key"].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(keys.len(), messages.len());
    let conversations = "SELECT string_agg(DISTINCT concat_ws('/', coalesce(vapi_call_id, '-'), coalesce(chat_id, '-'),
        coalesce(session_id, '-')), ' ' ORDER BY concat_ws('/', coalesce(vapi_call_id, '-'), coalesce(chat_id, '-'),
        coalesce(session_id, '-'))) FROM tool_executions";
    assert_eq!(database.text(conversations).await.as_deref(), Some("-/-/s1 -/h1/s1 -/h2/s1 c1/-/- c2/-/-"));
}

/// E1: an id twice in one message. Another call is executed, too; the same call is executed once and answered twice.
#[tokio::test]
async fn an_id_twice_in_one_message_is_answered_twice() {
    let (database, webhook, org, endpoint) = open_with_tools().await;
    let call = |name: &str, day: &str| json!({"id": "call_0", "name": name, "arguments": {"day": day}});
    let list =
        json!([call("book", "Monday"), call("book", "Tuesday"), call("book", "Monday"), call("cancel", "Monday")]);
    let expected = [
        r#"book did {"day":"Monday"}"#,
        r#"book did {"day":"Tuesday"}"#,
        r#"book did {"day":"Monday"}"#,
        r#"cancel did {"day":"Monday"}"#,
    ];
    let message = calls(&json!({"call": {"id": "c1"}}), &list);
    for _ in 0..2 {
        assert_eq!(texts(&webhook, org, &message).await, expected);
    }
    assert_eq!(endpoint.requests().len(), 3);
    assert_eq!(database.count("tool_executions").await, 3);
}

/// E1: a redelivery whose arguments are written in another way is the same execution.
#[tokio::test]
async fn arguments_in_another_spelling_are_the_same_execution() {
    let (_database, webhook, org, endpoint) = open_with_tools().await;
    let spellings = [
        r#"{"day":"Monday","party":{"adults":2,"children":1.50}}"#,
        r#"{ "party": {"children": 1.5, "adults": 2.0}, "day": "\u004donday" }"#,
        r#""{\"party\":{\"adults\":2,\"children\":1.5},\"day\":\"Monday\"}""#,
    ];
    let mut answers = Vec::new();
    for spelling in spellings {
        let body = format!(
            r#"{{"message":{{"type":"tool-calls","call":{{"id":"c1"}},"toolCallList":[{{"id":"call_0","type":"function",
                "function":{{"name":"book","arguments":{spelling}}}}}]}}}}"#
        );
        answers.push(webhook.post_bytes(org, body.into_bytes()).await.text);
    }
    assert_eq!(endpoint.requests().len(), 1);
    assert_eq!(answers[1..], [answers[0].clone(), answers[0].clone()], "the same text");
    let empty = [json!([]), json!(""), json!(null), json!("null"), json!({})];
    for written in &empty {
        let message = tool_call("c1", "call_1", "book", written);
        assert_eq!(texts(&webhook, org, &message).await, ["book did {}"], "{written}");
    }
    assert_eq!(endpoint.requests().len(), 2);
}

/// E1, E6: `toolCallId` instead of `id`, and a tool definition with its call.
#[tokio::test]
async fn an_id_may_have_another_name() {
    let (_database, webhook, org, _endpoint) = open_with_tools().await;
    let arguments = json!({"day": "Monday"});
    let flat = json!({"toolCallList": [{"toolCallId": "call_D", "name": "book", "arguments": arguments}]});
    let wrapped = json!({"toolWithToolCallList": [{"type": "function", "tool": {"name": "book"},
        "toolCall": {"id": "call_E", "arguments": arguments}}]});
    let copied = json!({"toolCalls": [{"id": "call_F", "function": {"name": "book", "arguments": arguments}}]});
    for (mut message, id) in [(flat, "call_D"), (wrapped, "call_E"), (copied, "call_F")] {
        message["type"] = json!("tool-calls");
        message["call"] = json!({"id": "c1"});
        let expected = json!({"toolCallId": id, "name": "book", "result": r#"book did {"day":"Monday"}"#});
        assert_eq!(results(&webhook, org, &json!({ "message": message })).await, [expected]);
    }
}

/// E1: a chat at the platform URL is answered by the org of its assistant.
#[tokio::test]
async fn a_chat_at_the_platform_url_finds_its_org() {
    let (database, webhook, org, endpoint) = open_with_tools().await;
    agent(&database, org, json!({"assistant_id": "a1"})).await;
    let list = json!([{"id": "call_0", "name": "book", "arguments": {}}]);
    let message = calls(&json!({"assistant": {"id": "a1"}, "chat": {"id": "h1"}}), &list);
    let answer = answer(&message, &webhook.post_platform(&message).await);
    assert_eq!(answer["results"][0]["result"], "book did {}");
    let data = endpoint.requests()[0].body["data"].clone();
    assert_eq!((&data["chat_id"], &data["call_id"]), (&json!("h1"), &json!(null)));
}

/// E3: the executions of a chat have the keyed hashes of the customer's number, and not the number.
#[tokio::test]
async fn an_execution_can_be_found_by_its_number() {
    let (database, webhook, org, _endpoint) = open_with_tools().await;
    let list = json!([{"id": "call_0", "name": "book", "arguments": {"day": "Monday"}}]);
    let customer = json!({"chat": {"id": "h1"}, "customer": {"number": "+1 (555) 555-0142"}});
    texts(&webhook, org, &calls(&customer, &list)).await;
    let hashes = ringfence_harness::testing::webhook::masters().number_hasher().hashes("+15555550142");
    let found = format!("tool_executions WHERE chat_id = 'h1' AND number_tombstones = ARRAY['{}']", hashes.join("','"));
    assert_eq!(database.count(&found).await, 1);
    let row = database.text("SELECT to_jsonb(e) - 'result' FROM tool_executions e").await.unwrap();
    assert!(!row.contains("5555550142") && !row.contains("Monday"), "{row}");
}

/// E1: calls beyond the limit of executions are answered in order, each with an entry. Calls without an id are left out.
#[tokio::test]
async fn more_calls_than_are_executed_are_answered() {
    let (database, webhook, org, endpoint) = open_with_tools().await;
    let mut list: Vec<_> =
        (0..50).map(|n| json!({"id": format!("call_{n}"), "name": "book", "arguments": {"n": n}})).collect();
    list.insert(7, json!({}));
    let results = results(&webhook, org, &calls(&json!({"call": {"id": "c1"}}), &json!(list))).await;
    let ids: Vec<_> = results.iter().map(|result| result["toolCallId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (0..50).map(|n| format!("call_{n}")).collect::<Vec<_>>());
    assert_eq!(results.iter().filter(|result| result["error"].is_string()).count(), 18);
    assert_eq!(endpoint.requests().len(), 32);
    assert_eq!(database.count("tool_executions").await, 32);
}

/// E4: numbers in arguments and results keep their digits: to the endpoint, in the stored result and in each answer.
#[tokio::test]
async fn numbers_keep_their_digits_on_the_way_to_an_endpoint_and_back() {
    let (database, webhook, org) = open().await;
    let endpoint = TestEndpoint::start(Manner::Fails(
        200,
        r#"{"result":{"order":123456789012345678901234,"price":0.10},"metadata":{"iccid":89440000000000012345}}"#
            .to_owned(),
    ))
    .await;
    tool(&database, org, "book", &endpoint.url, false).await;
    let arguments = r#"{"iccid":89440000000000012345,"id":9007199254740993,"rate":0.3000000000000000000001}"#;
    let body = format!(
        r#"{{"message":{{"type":"tool-calls","call":{{"id":"c1"}},"toolCallList":[{{"id":"call_0","name":"book",
            "arguments":{arguments}}}]}}}}"#
    );
    for _ in 0..2 {
        let reply = webhook.post_bytes(org, body.clone().into_bytes()).await;
        let result = r#""result":"{\"order\":123456789012345678901234,\"price\":0.10}""#;
        assert!(reply.text.contains(result), "{}", reply.text);
        assert!(reply.text.contains(r#""metadata":{"iccid":89440000000000012345}"#), "{}", reply.text);
    }
    let request = endpoint.requests().remove(0);
    assert!(request.text.contains(&format!("\"arguments\":{arguments}")), "{}", request.text);
    let stored = database.text("SELECT result #>> '{metadata,iccid}' FROM tool_executions").await;
    assert_eq!(stored.as_deref(), Some("89440000000000012345"));
}

/// E1: 300 KB of empty calls give an empty answer.
#[tokio::test]
async fn a_flood_of_empty_calls_is_cut() {
    let (database, webhook, org, endpoint) = open_with_tools().await;
    let message = calls(&json!({"call": {"id": "c1"}}), &json!(vec![json!({}); 100_000]));
    assert_eq!(answer(&message, &webhook.post(org, &message).await), json!({"results": []}));
    assert!(endpoint.requests().is_empty());
    assert_eq!(database.count("tool_executions").await, 0);
}
