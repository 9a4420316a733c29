//! `assistant-request`: the agent of the called number, and the data of the caller's lead.

use std::sync::Arc;
use std::time::Duration;

use assistant_request::{Answers, Fallback};
use ringfence_core::Timeouts;
use ringfence_harness::testing::webhook::{TestWebhook, org_key};
use ringfence_harness::testing::{Proxy, TestDatabase, TestQueues, sample};
use ringfence_vapi::OrgId;
use serde_json::{Value, json};

use super::{agent, answer, fields, lead, open};

const NUMBER_ID: &str = "54b9aa37-92a5-48a6-856d-2d3cc4a27f48";
const NUMBER: &str = "+15555550100";
/// Vapi's limit for the answer. The test is not a measure of speed: Vapi ends the call after this time.
const VAPIS_LIMIT: Duration = Duration::from_millis(7_500);

fn request() -> Value {
    sample("assistant-request.inbound-twilio")
}

/// The agent is found by Vapi's id of the number, then by the number, else it is the org's default; never an agent that
/// makes calls, or another org's.
#[tokio::test]
async fn the_agent_is_that_of_the_number_else_the_default() {
    let (database, webhook, org) = open().await;
    let other = database.org("Other").await;
    agent(&database, other, json!({"assistant_id": "theirs", "is_default": true})).await;
    agent(&database, org, json!({"assistant_id": "caller", "role": "outbound", "phone_number": NUMBER})).await;
    assert_eq!(fields(&answer(&request(), &webhook.post(org, &request()).await)), ["error"]);

    for (assistant, registration) in [
        ("default", json!({"is_default": true})),
        ("number", json!({"phone_number": NUMBER})),
        ("number-id", json!({"phone_number_id": NUMBER_ID})),
    ] {
        let mut fields = registration;
        fields["assistant_id"] = json!(assistant);
        agent(&database, org, fields).await;
        let answer = answer(&request(), &webhook.post(org, &request()).await);
        assert_eq!(answer, json!({ "assistantId": assistant }));
    }
    let elsewhere = sample("assistant-request.inbound-vapi-number");
    assert_eq!(webhook.post(org, &elsewhere).await.body, json!({"assistantId": "default"}));
}

/// A new default replaces the old one, and an agent that makes calls cannot be the default.
#[tokio::test]
async fn an_org_has_one_default() {
    let (database, webhook, org) = open().await;
    let first = agent(&database, org, json!({"assistant_id": "first", "is_default": true})).await;
    agent(&database, org, json!({"assistant_id": "second", "is_default": true})).await;
    assert_eq!(webhook.post(org, &request()).await.body, json!({"assistantId": "second"}));
    assert!(database.admin().await.configure_agent(org, first, Some(true), None).await.unwrap());
    assert_eq!(webhook.post(org, &request()).await.body, json!({"assistantId": "first"}));

    let other = database.org("Other").await;
    assert!(!database.admin().await.configure_agent(other, first, Some(false), None).await.unwrap());
    let makes_calls = agent(&database, org, json!({"assistant_id": "caller", "role": "outbound"})).await;
    let refused = database.admin().await.configure_agent(org, makes_calls, Some(true), None).await.unwrap_err();
    assert_eq!(refused.constraint.as_deref(), Some("agents_default_answers"));
    let listed = database.admin().await.agents(org).await.unwrap();
    let defaults: Vec<_> =
        listed.iter().map(|listed| (listed.agent.assistant_id.as_deref(), listed.agent.is_default)).collect();
    assert_eq!(defaults, [(Some("first"), true), (Some("second"), false), (Some("caller"), false)]);
    assert!(database.admin().await.agents(other).await.unwrap().is_empty());
    assert_eq!(webhook.post(org, &request()).await.body, json!({"assistantId": "first"}));
}

/// B5: the answer contains the caller's lead with the agent, of this org only.
#[tokio::test]
async fn the_lead_is_a_variable_of_its_own_org() {
    let (database, webhook, org) = open().await;
    let other = database.org("Other").await;
    let configuration = json!({"variables": {"shop": "Acme"}});
    for (org, assistant) in [(org, "a1"), (other, "b1")] {
        agent(&database, org, json!({"assistant_id": assistant, "is_default": true, "configuration": configuration}))
            .await;
    }
    let id = lead(&database, org, "Sam", json!({"vip": true})).await;
    let expected = json!({"assistantId": "a1", "assistantOverrides": {"variableValues": {"shop": "Acme",
        "lead": {"id": id, "name": "Sam", "phone": "+15555550142", "status": "new", "metadata": {"vip": true}}}}});
    assert_eq!(answer(&request(), &webhook.post(org, &request()).await), expected);
    let theirs = json!({"assistantId": "b1", "assistantOverrides": {"variableValues": {"shop": "Acme"}}});
    assert_eq!(answer(&request(), &webhook.post(other, &request()).await), theirs);

    let renamed = json!({"vip": false});
    let changed =
        database.admin().await.change_lead(org, "+15555550142", Some("Samuel"), Some(&renamed)).await.unwrap();
    assert_eq!(changed, Some(id));
    let variables = webhook.post(org, &request()).await.body["assistantOverrides"]["variableValues"]["lead"].clone();
    assert_eq!((&variables["name"], &variables["metadata"]), (&json!("Samuel"), &renamed));
    assert_eq!(database.admin().await.change_lead(other, "+15555550142", Some("X"), None).await.unwrap(), None);
}

/// An agent without an assistant may have a squad, a transient assistant, or a number to forward to.
#[tokio::test]
async fn an_agent_may_be_a_squad_a_transient_assistant_or_a_number() {
    for (fields, expected) in [
        (json!({"squad_id": "s1"}), json!({"squadId": "s1"})),
        (
            json!({"phone_number": NUMBER, "configuration": {"assistant": {"name": "Desk"}}}),
            json!({"assistant": {"name": "Desk"}}),
        ),
        (
            json!({"phone_number": NUMBER,
                "configuration": {"transfer_destination": {"type": "number", "number": "+15555550155"}}}),
            json!({"destination": {"type": "number", "number": "+15555550155"}}),
        ),
    ] {
        let (database, webhook, org) = open().await;
        let mut fields = fields;
        fields["is_default"] = json!(true);
        agent(&database, org, fields).await;
        assert_eq!(answer(&request(), &webhook.post(org, &request()).await), expected);
    }
}

/// D5: a revoked key is refused here, too.
#[tokio::test]
async fn a_revoked_key_is_refused() {
    let (database, webhook, org) = open().await;
    agent(&database, org, json!({"assistant_id": "a1", "is_default": true})).await;
    database.admin().await.rotate_key(org, Duration::ZERO).await.unwrap();
    for message in [request(), sample("tool-calls.single"), sample("transfer-destination-request")] {
        assert_eq!(webhook.post(org, &message).await.status, 401, "{}", message["message"]["type"]);
    }
    let headers = [("x-vapi-secret", org_key(org, 2))];
    let headers = headers.each_ref().map(|(name, key)| (*name, key.as_str()));
    let reply = webhook.send(Some(&org.to_string()), &headers, request().to_string().into_bytes()).await;
    assert_eq!(reply.body, json!({"assistantId": "a1"}));
}

/// D13: with the platform key, the org is found by the number. For an unregistered number nothing is configured.
#[tokio::test]
async fn the_platforms_url_finds_the_org_by_the_number() {
    let (database, webhook, org) = open().await;
    assert_eq!(fields(&answer(&request(), &webhook.post_platform(&request()).await)), ["error"]);
    agent(&database, org, json!({"assistant_id": "a1", "phone_number_id": NUMBER_ID})).await;
    assert_eq!(webhook.post_platform(&request()).await.body, json!({"assistantId": "a1"}));
    assert_eq!(database.count("unresolved_events").await, 0);
    assert_eq!(database.count("call_routes").await, 0, "a question routes no call");
}

/// A webhook function with a proxy in front of its database, and with a fallback.
async fn behind_a_proxy(fallback: Fallback) -> (TestDatabase, Proxy, TestWebhook, OrgId) {
    let (database, proxy) = (TestDatabase::new().await, Proxy::start().await);
    let timeouts = Timeouts { retry_after: Duration::from_millis(50), ..Timeouts::default() };
    let app = database.app_with(Some(&proxy.address), timeouts);
    let webhook = TestWebhook::with(Arc::clone(&app), &TestQueues::new().await, |endpoints| {
        Answers::new(app, endpoints, fallback)
    });
    let org = database.org("Acme").await;
    (database, proxy, webhook, org)
}

/// While the database is unavailable, the caller hears a message or is forwarded, and Vapi never receives an error.
#[tokio::test]
async fn without_the_database_there_is_a_fallback() {
    let destination = Fallback { destination: Some("+15555550199".to_owned()), sentence: None };
    let sentence = Fallback { destination: None, sentence: Some("Please call back.".to_owned()) };
    for (fallback, expected) in [
        (destination, json!({"destination": {"type": "number", "number": "+15555550199"}})),
        (sentence, json!({"error": "Please call back."})),
    ] {
        let (_database, proxy, webhook, org) = behind_a_proxy(fallback).await;
        proxy.refuse(true);
        assert_eq!(answer(&request(), &webhook.post(org, &request()).await), expected);
    }
    let (_database, proxy, webhook, org) = behind_a_proxy(Fallback::default()).await;
    proxy.refuse(true);
    assert_eq!(fields(&answer(&request(), &webhook.post(org, &request()).await)), ["error"]);
    for name in ["campaign.predial", "handoff-destination-request", "knowledge-base-request", "tool-calls.multiple"] {
        answer(&sample(name), &webhook.post(org, &sample(name)).await);
    }
}

/// While the database is unavailable, the agent's last answer is used, without the lead of the previous caller.
#[tokio::test]
async fn without_the_database_the_last_answer_is_remembered_but_not_who_called() {
    let (database, proxy, webhook, org) = behind_a_proxy(Fallback::default()).await;
    agent(&database, org, json!({"assistant_id": "a1", "phone_number": NUMBER})).await;
    lead(&database, org, "Sam", json!({})).await;
    assert!(webhook.post(org, &request()).await.text.contains("Sam"));
    proxy.refuse(true);
    proxy.cut();
    assert_eq!(answer(&request(), &webhook.post(org, &request()).await), json!({"assistantId": "a1"}));

    let other = database.org("Other").await;
    assert_eq!(fields(&webhook.post(other, &request()).await.body), ["error"], "another org's memory is its own");
    proxy.refuse(false);
}

/// The function waits for a hanging database for a shorter time than Vapi waits. When the database answers again, it
/// uses a new connection.
#[tokio::test]
async fn a_database_that_hangs_is_not_waited_for() {
    let (database, proxy, webhook, org) = behind_a_proxy(Fallback::default()).await;
    agent(&database, org, json!({"assistant_id": "a1", "is_default": true})).await;
    let unnamed = json!({"message": {"type": "assistant-request", "call": {"id": "c1"}}});
    assert_eq!(webhook.post(org, &unnamed).await.body, json!({"assistantId": "a1"}));
    proxy.fall_silent(true);
    let reply = tokio::time::timeout(VAPIS_LIMIT, webhook.post(org, &unnamed)).await.expect("an answer in time");
    assert_eq!(fields(&answer(&unnamed, &reply)), ["error"], "a number that is not named is not remembered");
    proxy.fall_silent(false);
    let found = async {
        while webhook.post(org, &unnamed).await.body != json!({"assistantId": "a1"}) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), found).await.expect("the database is found again");
    assert_eq!(proxy.connections(), 2);
}
