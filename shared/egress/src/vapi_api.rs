//! Vapi's REST API, called with an org's private key. The shapes are those of Vapi's published `OpenAPI` document.

use std::time::Duration;

use bytes::Bytes;
pub use http::Method;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use ringfence_vapi::{FailureCode, VapiCallId};
use serde_json::Value;

use crate::client::EgressClient;

/// The base URL.
pub const VAPI_API: &str = "https://api.vapi.ai";
/// Bounds a request with its complete answer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The size limit of an answer. A call of some hours with all its messages takes some megabytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

pub struct VapiApi {
    client: EgressClient,
    url: String,
}

impl VapiApi {
    #[must_use]
    pub fn new(client: EgressClient, url: impl Into<String>) -> Self {
        Self { client, url: url.into() }
    }

    /// `GET /call/{id}`: the whole call.
    pub async fn call(&self, key: &str, call: &VapiCallId) -> Result<Value, FailureCode> {
        self.ask(Method::GET, key, &format!("/call/{call}"), None).await
    }

    /// Sends a request. The path starts with a slash and contains ids only.
    pub async fn ask(&self, method: Method, key: &str, path: &str, body: Option<&Value>) -> Result<Value, FailureCode> {
        tokio::time::timeout(TIMEOUT, self.ask_unbounded(method, key, path, body))
            .await
            .unwrap_or(Err(FailureCode::VapiUnavailable))
    }

    async fn ask_unbounded(
        &self,
        method: Method,
        key: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, FailureCode> {
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| FailureCode::VapiKeyRefused)?;
        authorization.set_sensitive(true);
        let text = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "ringfence")
            .body(Full::new(Bytes::from(text)))
            .map_err(|_| FailureCode::VapiUnavailable)?;
        let response = self.client.send(request).await.map_err(|error| {
            tracing::warn!(%error, "the request to Vapi's API failed");
            FailureCode::VapiUnavailable
        })?;
        match response.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(FailureCode::VapiKeyRefused),
            StatusCode::NOT_FOUND => return Err(FailureCode::VapiCallUnknown),
            status => {
                tracing::warn!(vapi.status = status.as_u16(), "Vapi's API returned an error");
                return Err(FailureCode::VapiUnavailable);
            }
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|_| FailureCode::VapiUnavailable)?.to_bytes();
        serde_json::from_slice(&body).map_err(|_| FailureCode::VapiUnavailable)
    }
}
