//! Routes of the interactive functions: each answers its own messages, and no other message is lost.

use std::collections::HashMap;
use std::sync::Arc;

use assistant_request::{Answers, Fallback};
use lambda_http::http::Request as HttpRequest;
use lambda_http::{Body, RequestExt as _};
use ringfence_egress::{EgressClient, EgressPolicy, Endpoints};
use ringfence_harness::testing::webhook::{authenticator, keys, masters, org_key, quarantine};
use ringfence_harness::testing::{Call, TestDatabase, TestQueues, sample};
use ringfence_runtime::route::{Respond, Route};
use ringfence_runtime::{DriftCounter, Reception};
use ringfence_vapi::{Function, OrgId};
use serde_json::{Value, json};
use tool_calls::Tools;

use super::agent;

/// A route as the interactive functions start it.
fn reception<R>(database: &TestDatabase, queues: &TestQueues, responder: R) -> Reception<Route<R>> {
    let (app, sealer) = (database.app(), keys().delivery_sealer().unwrap());
    let handler = Route { queues: queues.retry_queues(), sealer, quarantine: quarantine(&app), responder };
    Reception { authenticator: authenticator(), handler, drift: DriftCounter::new(app) }
}

/// Posts a body to a function's route. Returns status and body of the answer.
async fn post<R: Respond + Sync>(route: &Reception<Route<R>>, org: OrgId, key: &str, body: &Value) -> (u16, Value) {
    let request = HttpRequest::post("https://ringfence.example/").header("x-vapi-secret", key);
    let request = request.body(Body::Text(body.to_string())).unwrap();
    let parameters = HashMap::from([("org_id".to_owned(), vec![org.to_string()])]);
    let response = Box::pin(route.answer(request.with_path_parameters(parameters))).await;
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

struct Site {
    database: TestDatabase,
    queues: TestQueues,
    org: OrgId,
    assistant: Reception<Route<Answers>>,
    tools: Reception<Route<Tools>>,
}

async fn open() -> Site {
    let (database, queues) = (TestDatabase::new().await, TestQueues::new().await);
    let org = database.org("Acme").await;
    let endpoints = Arc::new(Endpoints::new(EgressClient::new(EgressPolicy::Anywhere), masters().endpoint_secrets()));
    let answers = Answers::new(database.app(), Arc::clone(&endpoints), Fallback::default());
    let assistant = reception(&database, &queues, answers);
    let tools = reception(&database, &queues, Tools::new(database.app(), endpoints, masters().number_hasher()));
    Site { database, queues, org, assistant, tools }
}

/// Each function answers its own messages, and those of the other function as if nothing were configured.
#[tokio::test]
async fn a_route_answers_its_own_messages() {
    let Site { database, org, assistant, tools, .. } = open().await;
    agent(&database, org, json!({"assistant_id": "a1", "is_default": true})).await;
    let key = org_key(org, 1);
    let (request, calls) = (sample("assistant-request.inbound-twilio"), sample("tool-calls.single"));
    assert_eq!(post(&assistant, org, &key, &request).await, (200, json!({"assistantId": "a1"})));
    let (status, answer) = post(&tools, org, &key, &calls).await;
    assert_eq!((status, answer["results"].as_array().unwrap().len()), (200, 1));
    let (status, answer) = post(&tools, org, &key, &request).await;
    assert_eq!((status, answer["error"].is_string()), (200, true));
    let (status, answer) = post(&assistant, org, &key, &calls).await;
    assert_eq!((status, answer["results"].as_array().unwrap().len()), (200, 1));
}

/// An event at the wrong URL is sent to the queue of its function, without a statement to the database.
#[tokio::test]
async fn an_event_at_the_wrong_url_is_sent_to_its_queue() {
    let Site { database, queues, org, assistant, tools } = open().await;
    let (key, call) = (org_key(org, 1), Call::default());
    let report = call.report(60_000, json!({}));
    assert_eq!(post(&assistant, org, &key, &report).await, (200, json!({})));
    assert_eq!(post(&tools, org, &key, &call.status("ringing", 0)).await, (200, json!({})));
    for function in [Function::EndOfCallReport, Function::CallStarted] {
        assert_eq!(queues.take(function).await.records.len(), 1, "{function}");
    }
    assert_eq!(database.count("processed_webhook_events").await, 0);
    for (sample_name, status) in [("hang", 200), ("unknown.future-type", 200), ("malformed.type-missing", 400)] {
        assert_eq!(post(&tools, org, &key, &sample(sample_name)).await.0, status, "{sample_name}");
    }
}

/// D5: every route requires a key.
#[tokio::test]
async fn a_route_wants_the_orgs_key() {
    let Site { database, org, assistant, tools, .. } = open().await;
    let other = database.org("Other").await;
    for key in ["", "wrong", &org_key(other, 1)] {
        assert_eq!(post(&assistant, org, key, &sample("assistant-request.inbound-twilio")).await.0, 401);
        assert_eq!(post(&tools, org, key, &sample("tool-calls.single")).await.0, 401);
    }
}
