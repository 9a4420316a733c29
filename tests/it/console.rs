//! The console: its pages, its authorisation and its actions.

mod acting;
mod looking;
mod signing_in;

use std::time::Duration;

use aws_lambda_events::apigw::ApiGatewayV2httpRequestContext;
use console::{Commands, Console};
use jiff::Timestamp;
use lambda_http::http::{HeaderMap, Method, Request as HttpRequest, StatusCode};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt as _};
use ringfence_harness::testing::webhook::{keys, masters};
use ringfence_harness::testing::{FakeLambda, TestDatabase, TestQueues, TestWebhook};
use ringfence_identity::Scope;
use ringfence_vapi::OrgId;
use serde_json::Value;

const HOST: &str = "ringfence.example";

/// A console with a database of two orgs, and a fake of the function that it invokes.
pub(crate) struct Site {
    pub(crate) database: TestDatabase,
    pub(crate) acme: OrgId,
    pub(crate) other: OrgId,
    pub(crate) webhook: TestWebhook,
    console: Console,
    lambda: FakeLambda,
}

/// Response of the console.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Site {
    pub(crate) async fn open() -> Self {
        let database = TestDatabase::new().await;
        let queues = TestQueues::with_bucket().await;
        let (acme, other) = (database.org("Acme").await, database.org("Other").await);
        let lambda = FakeLambda::start().await;
        let console = Console {
            console_tokens: keys().console_token_verifier().unwrap(),
            live_tokens: keys().live_tokens().unwrap(),
            database: database.app(),
            bucket: queues.bucket(),
            commands: Commands::new(&queues.aws_at(&lambda.endpoint), "console-commands".to_owned()),
            live_url: "wss://live.example/live".to_owned(),
        };
        let webhook = TestWebhook::new(database.app(), &queues);
        Self { database, acme, other, webhook, console, lambda }
    }

    /// Sends a request as API Gateway passes it.
    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request = HttpRequest::builder().method(method).uri(format!("https://{HOST}{path}"));
        for (name, value) in [("host", HOST)].iter().chain(headers) {
            request = request.header(*name, *value);
        }
        let request: Request = request.body(Body::Text(body.to_owned())).unwrap();
        let raw_path = path.split('?').next().unwrap().to_owned();
        let request = request
            .with_raw_http_path(&raw_path)
            .with_request_context(RequestContext::ApiGatewayV2(ApiGatewayV2httpRequestContext::default()));
        let response = Box::pin(self.console.answer(request)).await;
        Reply {
            status: response.status(),
            headers: response.headers().clone(),
            text: std::str::from_utf8(response.body()).unwrap().to_owned(),
        }
    }

    /// Opens a page with a token in the cookie.
    pub(crate) async fn get(&self, token: &str, path: &str) -> Reply {
        self.send(Method::GET, path, &[("cookie", &format!("__Host-ringfence={token}"))], "").await
    }

    /// Content of a page as JSON, for a program with a bearer token.
    pub(crate) async fn json(&self, token: &str, path: &str) -> (StatusCode, Value) {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("accept", "application/json")];
        let reply = self.send(Method::GET, path, &headers, "").await;
        (reply.status, serde_json::from_str(&reply.text).unwrap())
    }

    /// Submits a form from a page of the console.
    pub(crate) async fn post(&self, token: &str, path: &str, form: &str) -> Reply {
        let cookie = format!("__Host-ringfence={token}");
        let origin = format!("https://{HOST}");
        self.send(Method::POST, path, &[("cookie", &cookie), ("origin", &origin)], form).await
    }
}

pub(crate) fn token(scope: Scope) -> String {
    token_for(scope, Duration::from_mins(5))
}

fn token_for(scope: Scope, lifetime: Duration) -> String {
    masters().console_token_minter().unwrap().mint(scope, "ada", lifetime, Timestamp::now()).unwrap().0
}

fn of(org: OrgId) -> String {
    token(Scope::Org(org))
}
