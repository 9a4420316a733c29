//! Vapi's REST API, called with an org's private key. The shapes are those of Vapi's published `OpenAPI` document.

use std::time::Duration;

use bytes::Bytes;
pub use http::Method;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use ringfence_vapi::{RecordingKind, VapiCallId};
use serde_json::Value;

use crate::client::{EgressClient, EgressError};

/// The base URL.
pub const VAPI_API: &str = "https://api.vapi.ai";
/// Bounds a request with its complete answer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The size limit of an answer. A call of some hours with all its messages takes some megabytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Vapi's API did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VapiApiError {
    /// Status 401 or 403, or a key that cannot stand in a header.
    #[error("Vapi refuses the API key")]
    KeyRefused,
    /// Status 404.
    #[error("Vapi does not know what was asked for")]
    NotFound,
    /// Status 408, 429 or 5xx: a later request may succeed.
    #[error("Vapi's API answers with status {0}")]
    Busy(u16),
    /// Any other status that the request does not expect.
    #[error("Vapi's API answers with status {0}")]
    Status(u16),
    /// The egress policy refuses the address, or the URL cannot be parsed.
    #[error("the address of Vapi's API is refused")]
    AddressRefused,
    /// No connection, or it was lost.
    #[error("Vapi's API is not reached")]
    Unreachable,
    /// No whole response came in time.
    #[error("no response of Vapi's API in time")]
    Timeout,
    /// The response is too large or not what the API documents.
    #[error("a response of Vapi's API cannot be read")]
    Unreadable,
}

impl From<EgressError> for VapiApiError {
    fn from(error: EgressError) -> Self {
        tracing::warn!(%error, "Vapi's API is not reached");
        match error {
            EgressError::AddressRefused => Self::AddressRefused,
            EgressError::Unreachable | EgressError::ConnectionLost => Self::Unreachable,
        }
    }
}

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
    pub async fn call(&self, key: &str, call: &VapiCallId) -> Result<Value, VapiApiError> {
        self.ask(Method::GET, key, &format!("/call/{call}"), None).await
    }

    /// `GET /call/{id}/mono-recording` and its siblings: the link that the API redirects to. The link is valid for a short time and
    /// needs no key, so it is requested without the key.
    pub async fn recording(&self, key: &str, call: &VapiCallId, kind: RecordingKind) -> Result<String, VapiApiError> {
        let path = format!("/call/{call}/{}", kind.endpoint());
        let response = in_time(self.send(Method::GET, key, &path, None)).await?;
        if !response.status().is_redirection() {
            return Err(error_of(response.status()));
        }
        let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        location.map(str::to_owned).ok_or(VapiApiError::Unreadable)
    }

    /// Reads or changes a resource. The path begins with a slash and holds ids only.
    pub async fn ask(
        &self,
        method: Method,
        key: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, VapiApiError> {
        in_time(async {
            let response = self.send(method, key, path, body).await?;
            if !response.status().is_success() {
                return Err(error_of(response.status()));
            }
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|_| VapiApiError::Unreadable)?.to_bytes();
            serde_json::from_slice(&body).map_err(|_| VapiApiError::Unreadable)
        })
        .await
    }

    async fn send(
        &self,
        method: Method,
        key: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>, VapiApiError> {
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| VapiApiError::KeyRefused)?;
        authorization.set_sensitive(true);
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "ringfence")
            .body(Full::new(body))
            .map_err(|_| VapiApiError::AddressRefused)?;
        Ok(self.client.send(request).await?)
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, VapiApiError>>) -> Result<T, VapiApiError> {
    tokio::time::timeout(TIMEOUT, asked).await.unwrap_or(Err(VapiApiError::Timeout))
}

fn error_of(status: StatusCode) -> VapiApiError {
    let error = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => VapiApiError::KeyRefused,
        StatusCode::NOT_FOUND => VapiApiError::NotFound,
        status if is_busy(status) => VapiApiError::Busy(status.as_u16()),
        status => VapiApiError::Status(status.as_u16()),
    };
    tracing::warn!(vapi.status = status.as_u16(), %error, "Vapi's API refuses a request");
    error
}

/// Whether a server says that a later request may succeed.
#[must_use]
pub fn is_busy(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT
}
