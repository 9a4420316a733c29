//! Messages to endpoints of orgs, signed as the Standard Webhooks specification requires.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use jiff::Timestamp;
use ringfence_identity::{EndpointSecret, EndpointSecrets};
use ringfence_vapi::OrgId;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::client::{EgressClient, EgressError};

/// The size limit of an answer. A model reads all of it.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// An endpoint of an org gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The request was not sent: the URL leads to an address that is not allowed, or cannot be parsed.
    #[error("the address is refused")]
    AddressRefused,
    /// The endpoint redirects, which is not followed.
    #[error("the endpoint redirects")]
    Redirected,
    /// The request was not sent: its signature is no header value.
    #[error("the request could not be signed")]
    NotSigned,
    /// The request was not sent: there is no connection.
    #[error("no connection")]
    Unreachable,
    /// The endpoint may have read the request; the connection ended before the whole response was read.
    #[error("the connection was lost")]
    ConnectionLost,
    /// No whole response came in time.
    #[error("no response in time")]
    Timeout,
    /// The response has another status than 2xx.
    #[error("the response has status {0}")]
    Status(u16),
    /// The response is larger than [`MAX_ANSWER_BYTES`].
    #[error("the response is too large")]
    TooLarge,
}

impl From<EgressError> for EndpointError {
    fn from(error: EgressError) -> Self {
        match error {
            EgressError::AddressRefused => Self::AddressRefused,
            EgressError::Unreachable => Self::Unreachable,
            EgressError::ConnectionLost => Self::ConnectionLost,
        }
    }
}

/// A message to an endpoint.
#[derive(Clone, Debug)]
pub struct Notice<'a> {
    pub org_id: OrgId,
    /// The id of the tool call or question, the same for each attempt and each delivery.
    pub id: &'a str,
    /// `tool-call`, or the type of a Vapi message.
    pub kind: &'a str,
    pub data: Value,
}

pub struct Endpoints {
    client: EgressClient,
    secrets: EndpointSecrets,
}

impl Endpoints {
    #[must_use]
    pub fn new(client: EgressClient, secrets: EndpointSecrets) -> Self {
        Self { client, secrets }
    }

    /// Posts a message and reads the answer, within `timeout` and until `deadline` at the latest.
    pub async fn post(
        &self,
        (url, timeout): (&str, Duration),
        notice: &Notice<'_>,
        deadline: Instant,
    ) -> Result<Bytes, EndpointError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = timeout.min(left);
        let now = Timestamp::now();
        let body = json!({"type": notice.kind, "timestamp": now, "data": notice.data}).to_string();
        let headers = signed_headers(notice, self.secrets.all(notice.org_id), now.as_second(), &body)?;
        let exchange = self.ask(url, headers, body);
        tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(EndpointError::Timeout))
    }

    async fn ask(&self, url: &str, headers: HeaderMap, body: String) -> Result<Bytes, EndpointError> {
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.parse().map_err(|_| EndpointError::AddressRefused)?;
        *request.headers_mut() = headers;
        let answer = self.client.send(request).await?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(EndpointError::Redirected);
        }
        if !status.is_success() {
            tracing::warn!(tool.status = status.as_u16(), "an endpoint failed");
            return Err(EndpointError::Status(status.as_u16()));
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { EndpointError::TooLarge } else { EndpointError::ConnectionLost }
        })?;
        Ok(body.to_bytes())
    }
}

/// `webhook-id`, `webhook-timestamp`, `webhook-signature` and `Idempotency-Key`, which equals `webhook-id`.
///
/// While one master key replaces another, the header has two signatures. A receiver verifies one of them.
fn signed_headers(
    notice: &Notice<'_>,
    secrets: impl Iterator<Item = EndpointSecret>,
    timestamp: i64,
    body: &str,
) -> Result<HeaderMap, EndpointError> {
    let id = message_id(notice);
    let signed = format!("{id}.{timestamp}.{body}");
    let signatures: Vec<String> = secrets.map(|secret| secret.sign(&signed)).collect();
    let text = |text: &str| HeaderValue::from_str(text).map_err(|_| EndpointError::NotSigned);
    Ok(HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::ACCEPT, HeaderValue::from_static("application/json")),
        (header::USER_AGENT, HeaderValue::from_static("ringfence")),
        (HeaderName::from_static("webhook-id"), text(&id)?),
        (HeaderName::from_static("webhook-timestamp"), HeaderValue::from(timestamp)),
        (HeaderName::from_static("webhook-signature"), text(&signatures.join(" "))?),
        (HeaderName::from_static("idempotency-key"), text(&id)?),
    ]))
}

/// Contains no dot, because a dot separates the signed parts. Contains the org, because two orgs may use one service.
fn message_id(notice: &Notice<'_>) -> String {
    let hash = Sha256::digest(format!("{}\0{}", notice.org_id, notice.id));
    format!("msg_{}", hex::encode(&hash[..16]))
}

#[cfg(test)]
mod tests {
    use ringfence_identity::MasterKeys;

    use super::*;

    #[test]
    fn a_message_is_signed_by_each_master_and_its_id_is_the_orgs_own() {
        let masters: MasterKeys =
            "a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,b:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
                .parse()
                .ok()
                .unwrap();
        let org: OrgId = "8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11".parse().unwrap();
        let other: OrgId = "8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c12".parse().unwrap();
        let notice = |org_id| Notice { org_id, id: "tool-calls:c.1:t1", kind: "tool-call", data: json!({}) };
        let headers = signed_headers(&notice(org), masters.endpoint_secrets().all(org), 1_614_265_330, "{}").unwrap();
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!(text("webhook-id"), text("idempotency-key"));
        assert!(!text("webhook-id").contains('.'));
        assert_ne!(text("webhook-id"), message_id(&notice(other)));
        let signed = format!("{}.1614265330.{{}}", text("webhook-id"));
        let expected: Vec<_> = masters.endpoint_secrets().all(org).map(|secret| secret.sign(&signed)).collect();
        assert_eq!(text("webhook-signature"), expected.join(" "));
        assert_eq!(expected.len(), 2);
    }
}
