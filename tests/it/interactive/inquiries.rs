//! Questions that an org may answer itself: the answer is from an endpoint, else from its agent's configuration, else
//! "nothing configured".

use ringfence_harness::testing::endpoint::Manner;
use ringfence_harness::testing::{TestEndpoint, sample};
use ringfence_protocol::admin::ToolKind;
use serde_json::json;

use super::{agent, answer, open, register};

const ASSISTANT: &str = "4dac6abb-472a-4a1d-8f6c-c2ed74e2cf44";

/// The configuration of the call's agent answers.
#[tokio::test]
async fn the_calls_agent_answers_by_its_configuration() {
    let (database, webhook, org) = open().await;
    let other = database.org("Other").await;
    let number = json!({"type": "number", "number": "+15555550155"});
    let billing = json!({"type": "assistant", "assistantName": "Billing"});
    let configuration =
        json!({"transfer_destination": number, "handoff_destination": billing, "endpointing_seconds": 0.25});
    agent(&database, org, json!({"assistant_id": ASSISTANT, "configuration": configuration})).await;

    let endpointing =
        json!({"message": {"type": "call.endpointing.request", "call": {"id": "c1", "assistantId": ASSISTANT}}});
    for (message, expected) in [
        (sample("transfer-destination-request"), json!({ "destination": number })),
        (sample("handoff-destination-request"), json!({ "destination": billing })),
        (endpointing, json!({"timeoutSeconds": 0.25})),
    ] {
        assert_eq!(answer(&message, &webhook.post(org, &message).await), expected);
        assert_ne!(answer(&message, &webhook.post(other, &message).await), expected, "another org has none");
    }
}

/// The endpoint is asked first. The request contains the ids of the call, but none of Vapi's configuration.
#[tokio::test]
async fn an_endpoint_receives_only_the_fields_that_it_needs() {
    let (database, webhook, org) = open().await;
    let number = json!({"destination": {"type": "number", "number": "+15555550177"}});
    let endpoint = TestEndpoint::start(Manner::Answers(number.clone())).await;
    register(&database, org, ToolKind::Message, "transfer-destination-request", &endpoint.url, false).await;
    let message = sample("transfer-destination-request");
    assert_eq!(answer(&message, &webhook.post(org, &message).await), number);

    let request = endpoint.requests().remove(0);
    assert_eq!(request.body["type"], "transfer-destination-request");
    assert_eq!(request.body["data"]["org_id"], json!(org));
    assert_eq!(request.body["data"]["call_id"], message["message"]["call"]["id"]);
    let conversation = request.body["data"]["conversation"].as_array().unwrap();
    assert!(!conversation.is_empty() && conversation.iter().all(|turn| turn["role"] != "system"), "{conversation:?}");
    for kept_back in ["twilio", "Never promise a price", "server", "hooks.example.com"] {
        assert!(!request.text.contains(kept_back), "{kept_back}: {}", request.text);
    }

    // A redelivery has the same message id for the endpoint.
    webhook.post(org, &message).await;
    let ids: Vec<_> = endpoint.requests().iter().map(|request| request.headers["webhook-id"].clone()).collect();
    assert_eq!(ids[0], ids[1]);
}

/// Each kind of question is forwarded to the endpoint, and its answer is returned to Vapi.
#[tokio::test]
async fn each_question_can_be_answered_by_an_endpoint() {
    let (database, webhook, org) = open().await;
    let endpointing = json!({"message": {"type": "call.endpointing.request", "call": {"id": "c1"}}});
    for (message, given) in [
        (
            sample("handoff-destination-request"),
            json!({"destination": {"type": "assistant", "assistantId": "b1"}, "result": "On to billing."}),
        ),
        (sample("knowledge-base-request"), json!({"documents": [{"content": "We open at nine.", "similarity": 0.9}]})),
        (endpointing, json!({"timeoutSeconds": 1.5})),
        (sample("campaign.predial"), json!({"eligible": true})),
    ] {
        let endpoint = TestEndpoint::start(Manner::Answers(given.clone())).await;
        let message_type = message["message"]["type"].as_str().unwrap();
        register(&database, org, ToolKind::Message, message_type, &endpoint.url, false).await;
        assert_eq!(answer(&message, &webhook.post(org, &message).await), given);
    }
}

/// If an endpoint fails or returns an answer that Vapi would reject, the configuration answers, or else "nothing
/// configured".
#[tokio::test]
async fn an_endpoint_that_fails_leaves_the_question_to_the_configuration() {
    let (database, webhook, org) = open().await;
    let endpoint = TestEndpoint::start(Manner::Fails(500, String::new())).await;
    register(&database, org, ToolKind::Message, "transfer-destination-request", &endpoint.url, false).await;
    let message = sample("transfer-destination-request");
    let nothing = json!({"error": "No transfer destination is configured."});
    assert_eq!(answer(&message, &webhook.post(org, &message).await), nothing);

    let number = json!({"type": "number", "number": "+15555550155"});
    agent(&database, org, json!({"assistant_id": ASSISTANT, "configuration": {"transfer_destination": number}})).await;
    for manner in [
        Manner::Fails(404, "{}".to_owned()),
        Manner::Answers(json!({"destination": {"type": "number"}})),
        Manner::Answers(json!("+15555550155")),
        Manner::Fails(200, "<html>".to_owned()),
        Manner::Redirects(endpoint.url.clone()),
        Manner::Endless,
    ] {
        endpoint.behave(manner);
        assert_eq!(answer(&message, &webhook.post(org, &message).await), json!({ "destination": number }));
    }
    assert_eq!(endpoint.requests().len(), 7, "a redirect is not followed");
}
