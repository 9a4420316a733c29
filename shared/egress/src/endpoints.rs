//! Messages to endpoints of orgs, signed as the Standard Webhooks specification requires.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use jiff::Timestamp;
use ringfence_identity::{MasterKeys, ToolSecret};
use ringfence_vapi::{FailureCode, OrgId};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::client::{EgressClient, EgressError};

/// The size limit of an answer. A model reads all of it.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

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
    masters: MasterKeys,
}

impl Endpoints {
    /// Messages are signed with the secrets that are derived from `masters`.
    #[must_use]
    pub fn new(client: EgressClient, masters: MasterKeys) -> Self {
        Self { client, masters }
    }

    /// Posts a message and reads the answer, within `timeout` and until `deadline` at the latest.
    pub async fn post(
        &self,
        (url, timeout): (&str, Duration),
        notice: &Notice<'_>,
        deadline: Instant,
    ) -> Result<Bytes, FailureCode> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = timeout.min(left);
        let now = Timestamp::now();
        let body = json!({"type": notice.kind, "timestamp": now, "data": notice.data}).to_string();
        let secrets = self.masters.tool_secrets(notice.org_id);
        let headers = signed_headers(notice, secrets, now.as_second(), &body);
        let exchange = self.ask(url, headers, body);
        tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(FailureCode::ToolTimeout))
    }

    async fn ask(&self, url: &str, headers: HeaderMap, body: String) -> Result<Bytes, FailureCode> {
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.parse().map_err(|_| FailureCode::ToolAddressRefused)?;
        *request.headers_mut() = headers;
        let answer = self.client.send(request).await.map_err(|error| match error {
            EgressError::AddressRefused => FailureCode::ToolAddressRefused,
            EgressError::Unreachable => FailureCode::ToolUnreachable,
            EgressError::ConnectionLost => FailureCode::ToolConnectionLost,
        })?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(FailureCode::ToolAddressRefused);
        }
        if !status.is_success() {
            tracing::warn!(tool.status = status.as_u16(), "an endpoint failed");
            return Err(FailureCode::ToolFailed);
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                FailureCode::ToolAnswerTooLarge
            } else {
                FailureCode::ToolConnectionLost
            }
        })?;
        Ok(body.to_bytes())
    }
}

/// `webhook-id`, `webhook-timestamp`, `webhook-signature` and `Idempotency-Key`, which equals `webhook-id`.
///
/// While one master key replaces another, the header has two signatures. A receiver verifies one of them.
fn signed_headers(
    notice: &Notice<'_>,
    secrets: impl Iterator<Item = ToolSecret>,
    timestamp: i64,
    body: &str,
) -> HeaderMap {
    let id = message_id(notice);
    let signed = format!("{id}.{timestamp}.{body}");
    let signatures: Vec<String> = secrets.filter_map(|secret| signature(secret.bytes(), &signed)).collect();
    let text = |text: &str| HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::ACCEPT, HeaderValue::from_static("application/json")),
        (header::USER_AGENT, HeaderValue::from_static("ringfence")),
        (HeaderName::from_static("webhook-id"), text(&id)),
        (HeaderName::from_static("webhook-timestamp"), HeaderValue::from(timestamp)),
        (HeaderName::from_static("webhook-signature"), text(&signatures.join(" "))),
        (HeaderName::from_static("idempotency-key"), text(&id)),
    ])
}

/// Contains no dot, because a dot separates the signed parts. Contains the org, because two orgs may use one service.
fn message_id(notice: &Notice<'_>) -> String {
    let hash = Sha256::digest(format!("{}\0{}", notice.org_id, notice.id));
    format!("msg_{}", hex::encode(&hash[..16]))
}

fn signature(secret: &[u8], signed: &str) -> Option<String> {
    let mac = Hmac::<Sha256>::new_from_slice(secret).ok()?.chain_update(signed.as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification (standardwebhooks.com).
    #[test]
    fn the_specifications_example_has_its_signature() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = r#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#;
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signature(&secret, signed).as_deref(), Some(expected));
    }

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
        let headers = signed_headers(&notice(org), masters.tool_secrets(org), 1_614_265_330, "{}");
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!(text("webhook-id"), text("idempotency-key"));
        assert!(!text("webhook-id").contains('.'));
        assert_ne!(text("webhook-id"), message_id(&notice(other)));
        let signed = format!("{}.1614265330.{{}}", text("webhook-id"));
        let expected: Vec<_> =
            masters.tool_secrets(org).filter_map(|secret| signature(secret.bytes(), &signed)).collect();
        assert_eq!(text("webhook-signature"), expected.join(" "));
        assert_eq!(expected.len(), 2);
    }
}
