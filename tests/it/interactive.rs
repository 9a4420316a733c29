//! Interactive messages (B5, D6): questions are answered from the org's configuration, and tool calls are executed
//! once.

mod assistant;
mod identity;
mod inquiries;
mod routes;
mod tools;

use ringfence_harness::testing::webhook::Reply;
use ringfence_harness::testing::{TestDatabase, TestEndpoint, TestQueues, TestWebhook, sample};
use ringfence_protocol::admin::{NewAgent, Tool, ToolKind};
use ringfence_vapi::{AgentId, LeadId, OrgId};
use serde_json::{Map, Value, json};

/// A webhook function with a fresh database of one org.
async fn open() -> (TestDatabase, TestWebhook, OrgId) {
    let database = TestDatabase::new().await;
    let webhook = TestWebhook::new(database.app(), &TestQueues::new().await);
    let org = database.org("Acme").await;
    (database, webhook, org)
}

/// Adds an agent of an org that answers calls and has the additional `fields`.
async fn agent(database: &TestDatabase, org: OrgId, fields: Value) -> AgentId {
    let mut agent = json!({"name": "Desk", "role": "inbound"});
    agent.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let agent: NewAgent = serde_json::from_value(agent).unwrap();
    database.admin().await.add_agent(org, &agent).await.unwrap().id
}

/// Adds a tool of an org.
async fn tool(database: &TestDatabase, org: OrgId, name: &str, endpoint: &str, is_idempotent: bool) {
    register(database, org, ToolKind::Tool, name, endpoint, is_idempotent).await;
}

async fn register(
    database: &TestDatabase,
    org: OrgId,
    kind: ToolKind,
    name: &str,
    endpoint: &str,
    is_idempotent: bool,
) {
    let (name, endpoint) = (name.to_owned(), endpoint.to_owned());
    let tool = Tool { kind, name, endpoint, timeout_seconds: 10, is_idempotent };
    database.admin().await.set_tool(org, &tool).await.unwrap();
}

/// Adds a lead of an org with metadata.
async fn lead(database: &TestDatabase, org: OrgId, name: &str, metadata: Value) -> LeadId {
    let Value::Object(metadata) = metadata else { panic!("metadata is an object") };
    database.admin().await.add_lead(org, "+15555550142", Some(name), &metadata).await.unwrap()
}

/// Answer to a message. Checks that it conforms to Vapi's schema for the type of the message.
fn answer(message: &Value, reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text);
    let message_type = message["message"]["type"].as_str().unwrap();
    let mut schema: Value = serde_json::from_str(include_str!("interactive/answers.schema.json")).unwrap();
    schema["$ref"] = json!(format!("#/$defs/{message_type}"));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(&reply.body).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{message_type}: {}\n{errors:?}", reply.body);
    reply.body.clone()
}

/// A message with one tool call as Vapi sends it, in a separate call.
fn tool_call(call: &str, id: &str, name: &str, arguments: &Value) -> Value {
    let function = json!({"name": name, "arguments": arguments});
    json!({"message": {"type": "tool-calls", "call": {"id": call, "customer": {"number": "+15555550142"}},
        "toolCallList": [{"id": id, "type": "function", "function": function}]}})
}

/// The schema accepts Vapi's own examples and rejects other shapes.
#[test]
fn the_shapes_are_those_of_vapis_examples() {
    let schema: Value = serde_json::from_str(include_str!("interactive/answers.schema.json")).unwrap();
    let fits = |message_type: &str, body: &Value| {
        let mut schema = schema.clone();
        schema["$ref"] = json!(format!("#/$defs/{message_type}"));
        jsonschema::validator_for(&schema).unwrap().is_valid(body)
    };
    for (message_type, body, expected) in [
        ("assistant-request", json!({"assistantId": "a", "assistantOverrides": {"variableValues": {}}}), true),
        ("assistant-request", json!({"assistantId": "a", "squadId": "s"}), false),
        ("assistant-request", json!({"error": ""}), false),
        ("tool-calls", json!({"results": [{"name": "n", "toolCallId": "c", "result": "ok"}]}), true),
        ("tool-calls", json!({"results": [{"name": "n", "toolCallId": "c", "result": "a\nb"}]}), false),
        ("tool-calls", json!({"results": [{"name": "n", "toolCallId": "c", "result": "ok", "error": "no"}]}), false),
        ("campaign.predial", json!({"eligible": "yes"}), false),
    ] {
        assert_eq!(fits(message_type, &body), expected, "{message_type} {body}");
    }
}

/// D6: for every configuration, the answer to every variant of every interactive message conforms to Vapi's schema.
#[tokio::test]
async fn every_variant_gets_an_answer_of_its_shape() {
    let endpointing = json!({"message": {"type": "call.endpointing.request", "messagesOpenAIFormatted": [],
        "call": {"id": "c1", "phoneNumberId": "54b9aa37-92a5-48a6-856d-2d3cc4a27f48"}}});
    let messages: Vec<Value> = [
        "assistant-request.inbound-twilio",
        "assistant-request.inbound-vapi-number",
        "campaign.predial",
        "function-call.legacy",
        "handoff-destination-request",
        "knowledge-base-request",
        "tool-calls.multiple",
        "tool-calls.single",
        "transfer-destination-request",
        "wild.tool-calls.arguments-object",
    ]
    .into_iter()
    .map(sample)
    .chain([endpointing])
    .collect();
    let (database, webhook, org) = open().await;
    for message in &messages {
        answer(message, &webhook.post(org, message).await);
    }

    let endpoint =
        TestEndpoint::start(ringfence_harness::testing::endpoint::Manner::Answers(json!({"result": "Done\nnow"})))
            .await;
    let configuration = json!({
        "variables": {"shop": "Acme"}, "endpointing_seconds": 0.4,
        "transfer_destination": {"type": "number", "number": "+15555550155"},
        "handoff_destination": {"type": "assistant", "assistantName": "Billing"},
    });
    agent(&database, org, json!({"assistant_id": "a1", "is_default": true, "configuration": configuration})).await;
    lead(&database, org, "Sam", json!({"vip": true})).await;
    for name in ["book_appointment", "lookup_customer", "notify_owner"] {
        tool(&database, org, name, &endpoint.url, false).await;
    }
    for message in &messages {
        answer(message, &webhook.post(org, message).await);
    }
    assert_eq!(endpoint.requests().len(), 4, "three of one call, which the others repeat, and the legacy one");
}

/// Names of an object's fields.
fn fields(value: &Value) -> Vec<String> {
    value.as_object().unwrap_or(&Map::new()).keys().cloned().collect()
}
