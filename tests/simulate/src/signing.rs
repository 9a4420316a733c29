//! The three mechanisms with which Vapi authenticates its webhooks.

use hmac::{Hmac, Mac};
use jiff::Timestamp;
use sha2::Sha256;

/// Mechanism of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// The key in `X-Vapi-Secret`.
    Secret,
    /// The key as bearer token.
    Bearer,
    /// An HMAC with the key over `{timestamp}.{body}`.
    Signature,
}

impl Mechanism {
    /// The mechanisms in rotation.
    pub(super) fn of(index: usize) -> Self {
        [Self::Secret, Self::Bearer, Self::Signature][index % 3]
    }

    /// Headers of a webhook that is sent now.
    #[must_use]
    pub fn headers(self, key: &str, body: &[u8], now: Timestamp) -> Vec<(&'static str, String)> {
        match self {
            Self::Secret => vec![("x-vapi-secret", key.to_owned())],
            Self::Bearer => vec![("authorization", format!("Bearer {key}"))],
            Self::Signature => {
                let timestamp = now.as_millisecond().to_string();
                let signature = sign(key.as_bytes(), &[timestamp.as_bytes(), b".", body]);
                vec![("x-timestamp", timestamp), ("x-signature", signature)]
            }
        }
    }

    /// Webhook URL. It contains the version of the key for signatures, because a signature does not contain it.
    pub(super) fn url(self, webhook_url: &str, key: &str) -> String {
        match (self, version(key)) {
            (Self::Signature, Some(version)) => format!("{webhook_url}?v={version}"),
            _ => webhook_url.to_owned(),
        }
    }
}

/// Version in `rf_{kid}_{version}_{mac}`.
fn version(key: &str) -> Option<&str> {
    key.split('_').nth(2)
}

/// HMAC-SHA256 in hexadecimal.
fn sign(key: &[u8], parts: &[&[u8]]) -> String {
    // HMAC accepts keys of any length. If it did not, the signature would be empty and the webhook refused.
    Hmac::<Sha256>::new_from_slice(key).map_or_else(
        |_| String::new(),
        |mut mac| {
            for part in parts {
                mac.update(part);
            }
            hex::encode(mac.finalize().into_bytes())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First of the contract's test vectors (`tests/samples/hmac-vectors.json`).
    #[test]
    fn a_signature_is_over_timestamp_and_body() {
        let body = include_bytes!("../../samples/hmac-body.raw");
        let now = Timestamp::from_millisecond(1_789_398_152_980).unwrap();
        let headers = Mechanism::Signature.headers("sample-hmac-key-not-a-secret", body, now);
        let expected = "fc280ef94642ced924770ebd7256f463da5712fde86a12e0cbd97f5ddf6e3d51";
        assert_eq!(headers, [("x-timestamp", "1789398152980".to_owned()), ("x-signature", expected.to_owned())]);
    }

    #[test]
    fn only_a_signatures_url_names_the_keys_version() {
        let (url, key) = ("https://ringfence.example/vapi/org", "rf_k1_12_mac_with_underscores");
        assert_eq!(Mechanism::Signature.url(url, key), format!("{url}?v=12"));
        assert_eq!(Mechanism::Secret.url(url, key), url);
    }
}
