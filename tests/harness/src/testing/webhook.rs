//! The webhook function in this process, and requests as API Gateway passes them.

use std::collections::HashMap;
use std::sync::Arc;

use assistant_request::{Answers, Fallback};
use lambda_http::http::{HeaderMap, StatusCode};
use lambda_http::{Body, Request, RequestExt as _};
use ringfence_core::Database;
use ringfence_egress::{EgressClient, EgressPolicy, Endpoints};
use ringfence_identity::{Authenticator, KeyRing, MasterKeys, Purpose, Subject};
use ringfence_runtime::{DriftCounter, Quarantine, Reception};
use ringfence_vapi::OrgId;
use serde_json::Value;
use tool_calls::Tools;
use webhook::Webhook;

use super::queues::TestQueues;

type Parameters = HashMap<String, Vec<String>>;

/// Master key of the tests.
pub const MASTER_KEYS: &str = "t:dGVzdC1tYXN0ZXIta2V5LW9mLTMyLWJ5dGVzLS0tLS0=";

/// A webhook function with a test's database and queues.
pub struct TestWebhook(Reception<Webhook>);

/// Response of the webhook function.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body as text.
    pub text: String,
    /// Body as JSON.
    pub body: Value,
}

impl TestWebhook {
    /// A webhook function that requires timestamps in signatures.
    #[must_use]
    pub fn new(database: Arc<Database>, queues: &TestQueues) -> Self {
        let answers = Arc::clone(&database);
        Self::with(database, queues, |endpoints| Answers::new(answers, endpoints, Fallback::default()))
    }

    /// Like [`Self::new`], with answers that the test provides.
    #[must_use]
    pub fn with(database: Arc<Database>, queues: &TestQueues, answers: impl FnOnce(Arc<Endpoints>) -> Answers) -> Self {
        let endpoints =
            Arc::new(Endpoints::new(EgressClient::new(EgressPolicy::Anywhere), masters().endpoint_secrets()));
        let tools = Tools::new(Arc::clone(&database), Arc::clone(&endpoints), masters().number_hasher());
        Self::of(database, queues, answers(endpoints), tools)
    }

    /// Like [`Self::new`], with all parts that answer provided by the test.
    #[must_use]
    pub fn of(database: Arc<Database>, queues: &TestQueues, answers: Answers, tools: Tools) -> Self {
        let drift = DriftCounter::new(Arc::clone(&database));
        let handler = Webhook {
            queues: queues.retry_queues(),
            sealer: keys().delivery_sealer().expect("a sealer"),
            quarantine: quarantine(&database),
            answers,
            tools,
            pipeline: queues.pipeline(database),
        };
        Self(Reception { authenticator: authenticator(), handler, drift })
    }

    /// Posts a body to the org's URL with version 1 of the org's key as `X-Vapi-Secret`.
    pub async fn post(&self, org: OrgId, body: &Value) -> Reply {
        self.post_bytes(org, body.to_string().into_bytes()).await
    }

    /// Like [`TestWebhook::post`], with a body that need not be JSON.
    pub async fn post_bytes(&self, org: OrgId, body: Vec<u8>) -> Reply {
        self.send(Some(&org.to_string()), &[("x-vapi-secret", &org_key(org, 1))], body).await
    }

    /// Posts a body to the platform URL with the platform key.
    pub async fn post_platform(&self, body: &Value) -> Reply {
        let key = masters().mint(Subject::Platform, 1);
        self.send(None, &[("x-vapi-secret", key.expose())], body.to_string().into_bytes()).await
    }

    /// Posts any request to the URL of the org `org`, or to the platform URL.
    pub async fn send(&self, org: Option<&str>, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        self.send_with_query(org, &[], headers, body).await
    }

    /// Like [`TestWebhook::send`], with a query string.
    pub async fn send_with_query(
        &self,
        org: Option<&str>,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Reply {
        let path = org.map_or_else(|| "/vapi".to_owned(), |org| format!("/vapi/{org}"));
        let mut request = lambda_http::http::Request::post(format!("https://ringfence.example{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // API Gateway passes a UTF-8 body as text, whatever its content type.
        let body = String::from_utf8(body).map_or_else(|error| Body::Binary(error.into_bytes()), Body::Text);
        let request: Request = request.body(body).expect("a request");
        // A path without a route of its own reaches the route that takes everything below /vapi.
        let name = if org.is_some_and(|org| org.ends_with('/')) { "path" } else { "org_id" };
        let parameters = org.map(|org| (name.to_owned(), vec![org.to_owned()]));
        let request =
            request.with_path_parameters(parameters.into_iter().collect::<Parameters>()).with_query_string_parameters(
                query
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]))
                    .collect::<Parameters>(),
            );
        // Boxed, because the tests nest this future deeply.
        read(&Box::pin(self.0.answer(request)).await)
    }
}

/// Master keys of the tests.
#[must_use]
pub fn masters() -> MasterKeys {
    MASTER_KEYS.parse().unwrap_or_else(|_| panic!("the master keys of the tests are usable"))
}

/// Derived keys of all purposes.
#[must_use]
pub fn keys() -> KeyRing {
    masters().key_ring(&Purpose::ALL).expect("a key ring")
}

/// Stores messages of unknown types.
#[must_use]
pub fn quarantine(database: &Arc<Database>) -> Quarantine {
    Quarantine { database: Arc::clone(database), sealer: keys().message_sealer().expect("a sealer") }
}

/// Accepts the keys of orgs and version 1 of the platform key.
#[must_use]
pub fn authenticator() -> Authenticator {
    let (keys, body_only) = (keys(), false);
    let authenticator = Authenticator::new(keys.org_key_verifier().expect("org keys"), body_only);
    authenticator.with_platform(keys.platform_key_verifier().expect("platform keys"), vec![1])
}

/// Version 1 of an org's key.
#[must_use]
pub fn org_key(org: OrgId, version: i32) -> String {
    masters().mint(Subject::Org(org), version).expose().to_owned()
}

fn read(response: &lambda_http::Response<Body>) -> Reply {
    let text = std::str::from_utf8(response.body()).expect("the webhook answers text").to_owned();
    let body = serde_json::from_str(&text).expect("the webhook answers JSON");
    Reply { status: response.status(), headers: response.headers().clone(), text, body }
}
