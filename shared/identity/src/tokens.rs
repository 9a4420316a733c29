//! Short-lived tokens for the live view and the console: JWT (RFC 7519), signed by HS256 with a key that is derived
//! from a master key.
//!
//! This module implements one algorithm with the crates that derive the keys. A JWT library would link a second crypto
//! library, besides OpenSSL, into the functions that verify tokens.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use ringfence_protocol::admin::MAX_TOKEN_LIFETIME;
use ringfence_vapi::OrgId;
use ringfence_vapi::ids::InvalidId;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::keys::MasterKeys;

const ISSUER: &str = "ringfence";

/// The purpose of a token. A token is valid for one purpose only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Watching an org's calls over the WebSocket API, and playing their recordings.
    Live,
    /// Signing in to the console.
    Console,
}

impl Audience {
    /// The value of the token's `aud` claim.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Console => "console",
        }
    }
}

/// The data that the token's holder may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Scope {
    Org(OrgId),
    /// Any org's. Each access is audited.
    Operator,
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Org(org) => org.to_string(),
            Scope::Operator => "operator".to_owned(),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        if text == "operator" { Ok(Self::Operator) } else { text.parse().map(Self::Org) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub scope: Scope,
    /// The actor for the audit log: the person who requested the token.
    pub holder: String,
    pub expires_at: Timestamp,
}

impl Claims {
    /// The org. None: it is an operator's token.
    #[must_use]
    pub const fn org(&self) -> Option<OrgId> {
        match self.scope {
            Scope::Org(org) => Some(org),
            Scope::Operator => None,
        }
    }
}

/// The only algorithm. A token with another algorithm is invalid, whatever its signature.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Algorithm {
    #[serde(rename = "HS256")]
    Hs256,
}

/// The header of a token: the algorithm and the id of the master key.
#[derive(Serialize, Deserialize)]
struct Header {
    alg: Algorithm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    typ: Option<String>,
    kid: String,
}

/// The payload of a token.
#[derive(Serialize, Deserialize)]
struct Payload {
    iss: String,
    aud: String,
    sub: Scope,
    holder: String,
    iat: i64,
    exp: i64,
}

/// The token is malformed, of another signer, for another purpose, or expired. The error does not say which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no valid token")]
pub struct InvalidToken;

#[derive(Clone)]
pub struct Tokens(Vec<(String, Vec<u8>)>);

impl Tokens {
    /// The key of the first master key signs; the keys of all verify.
    #[must_use]
    pub fn new(masters: &MasterKeys) -> Self {
        Self(masters.token_keys().collect())
    }

    /// Creates a token. A lifetime above [`MAX_TOKEN_LIFETIME`] is reduced to it.
    pub fn mint(
        &self,
        audience: Audience,
        scope: Scope,
        holder: &str,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<(String, Claims), InvalidToken> {
        let (kid, key) = self.0.first().ok_or(InvalidToken)?;
        let seconds = i64::try_from(lifetime.min(MAX_TOKEN_LIFETIME).as_secs()).map_err(|_| InvalidToken)?;
        let (iat, exp) = (now.as_second(), now.as_second() + seconds);
        let payload = Payload {
            iss: ISSUER.to_owned(),
            aud: audience.as_str().to_owned(),
            sub: scope,
            holder: holder.to_owned(),
            iat,
            exp,
        };
        let header = Header { alg: Algorithm::Hs256, typ: Some("JWT".to_owned()), kid: kid.clone() };
        let token = sign(&header, &payload, key).ok_or(InvalidToken)?;
        let expires_at = Timestamp::from_second(exp).map_err(|_| InvalidToken)?;
        Ok((token, Claims { scope, holder: holder.to_owned(), expires_at }))
    }

    /// The claims of a token for `audience` that is valid at `now`.
    pub fn verify(&self, audience: Audience, token: &str, now: Timestamp) -> Result<Claims, InvalidToken> {
        let (signed, signature) = token.rsplit_once('.').ok_or(InvalidToken)?;
        let (header, payload) = signed.split_once('.').ok_or(InvalidToken)?;
        let header: Header = decode(header).ok_or(InvalidToken)?;
        let (_, key) = self.0.iter().find(|(named, _)| *named == header.kid).ok_or(InvalidToken)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| InvalidToken)?;
        // Constant-time.
        mac(key, signed).and_then(|mac| mac.verify_slice(&signature).ok()).ok_or(InvalidToken)?;
        let Payload { iss, aud, sub, holder, exp, .. } = decode(payload).ok_or(InvalidToken)?;
        if iss != ISSUER || aud != audience.as_str() || exp <= now.as_second() {
            return Err(InvalidToken);
        }
        Ok(Claims { scope: sub, holder, expires_at: Timestamp::from_second(exp).map_err(|_| InvalidToken)? })
    }
}

/// A token in its compact form (RFC 7515, section 3.1).
fn sign(header: &Header, payload: &Payload, key: &[u8]) -> Option<String> {
    let encode = |json: serde_json::Result<String>| json.ok().map(|json| URL_SAFE_NO_PAD.encode(json));
    let (header, payload) = (encode(serde_json::to_string(header))?, encode(serde_json::to_string(payload))?);
    let signed = format!("{header}.{payload}");
    let signature = URL_SAFE_NO_PAD.encode(mac(key, &signed)?.finalize().into_bytes());
    Some(format!("{signed}.{signature}"))
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// HMAC accepts keys of any length, so the result is never None.
fn mac(key: &[u8], signed: &str) -> Option<Hmac<Sha256>> {
    Some(<Hmac<Sha256> as Mac>::new_from_slice(key).ok()?.chain_update(signed.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const B: &str = "b:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn tokens(masters: &str) -> Tokens {
        Tokens::new(&masters.parse().ok().unwrap())
    }

    fn org() -> OrgId {
        "8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11".parse().unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn minted() -> String {
        tokens(A).mint(Audience::Live, Scope::Org(org()), "ada", Duration::from_mins(5), now()).unwrap().0
    }

    #[test]
    fn a_token_counts_until_it_expires() {
        let claims = tokens(A).verify(Audience::Live, &minted(), now()).unwrap();
        let expires_at = "2026-11-24T12:05:00Z".parse().unwrap();
        assert_eq!(claims, Claims { scope: Scope::Org(org()), holder: "ada".to_owned(), expires_at });
        assert_eq!(tokens(A).verify(Audience::Live, &minted(), claims.expires_at), Err(InvalidToken));
    }

    #[test]
    fn no_token_counts_longer_than_half_a_day() {
        let (_, claims) = tokens(A).mint(Audience::Live, Scope::Org(org()), "ada", Duration::MAX, now()).unwrap();
        assert_eq!(claims.expires_at, "2026-11-25T00:00:00Z".parse().unwrap());
    }

    #[test]
    fn masters_overlap_while_one_replaces_the_other() {
        assert!(tokens(&format!("{B},{A}")).verify(Audience::Live, &minted(), now()).is_ok());
        assert_eq!(tokens(B).verify(Audience::Live, &minted(), now()), Err(InvalidToken));
    }

    #[test]
    fn what_was_altered_or_is_unsigned_is_no_token() {
        let encode = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let token = minted();
        let parts: Vec<&str> = token.split('.').collect();
        let payload = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        let other_org = encode(&payload.replace("8d1c", "8d1d"));
        for forged in [
            String::new(),
            "a.b.c".to_owned(),
            format!("{}.{other_org}.{}", parts[0], parts[2]),
            format!("{}.{}.", encode(r#"{"alg":"none","kid":"a"}"#), parts[1]),
            format!("{}.{}.{}", encode(r#"{"alg":"HS384","kid":"a"}"#), parts[1], parts[2]),
            format!("{}.{}.{}", encode(r#"{"alg":"HS256"}"#), parts[1], parts[2]),
        ] {
            assert_eq!(tokens(A).verify(Audience::Live, &forged, now()), Err(InvalidToken), "{forged}");
        }
    }

    /// RFC 7515, appendix A.1: the example of HS256.
    #[test]
    fn the_specifications_example_is_signed_alike() {
        let key = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = URL_SAFE_NO_PAD.encode(mac(&key, signed).unwrap().finalize().into_bytes());
        assert_eq!(signature, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn an_operators_token_is_no_orgs() {
        let (token, _) = tokens(A).mint(Audience::Console, Scope::Operator, "ada", Duration::MAX, now()).unwrap();
        let claims = tokens(A).verify(Audience::Console, &token, now()).unwrap();
        assert_eq!((claims.scope, claims.org()), (Scope::Operator, None));
        assert_eq!(tokens(A).verify(Audience::Live, &token, now()), Err(InvalidToken));
    }

    #[test]
    fn a_token_for_another_purpose_opens_nothing() {
        let (kid, key) = tokens(A).0.remove(0);
        for (iss, aud) in [("ringfence", "console"), ("somebody", "live")] {
            let payload = Payload {
                iss: iss.to_owned(),
                aud: aud.to_owned(),
                sub: Scope::Org(org()),
                holder: "ada".to_owned(),
                iat: now().as_second(),
                exp: now().as_second() + 60,
            };
            let header = Header { alg: Algorithm::Hs256, typ: None, kid: kid.clone() };
            let token = sign(&header, &payload, &key).unwrap();
            assert_eq!(tokens(A).verify(Audience::Live, &token, now()), Err(InvalidToken), "{iss} {aud}");
        }
    }
}
