//! The compact form of a token (RFC 7515, section 3.1): header, payload and signature, each in base64url.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ringfence_protocol::admin::MAX_TOKEN_LIFETIME;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Audience, Claims, InvalidToken, MintError};
use crate::keys::Kid;

const ISSUER: &str = "ringfence";

/// A token that names an algorithm other than that of its audience is refused, so that a public key is never used as
/// an HMAC key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Algorithm {
    #[serde(rename = "HS256")]
    Hs256,
    /// Ed25519 (RFC 8037).
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Audience {
    const fn algorithm(self) -> Algorithm {
        match self {
            Self::Live => Algorithm::Hs256,
            Self::Console => Algorithm::EdDsa,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: Algorithm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    typ: Option<String>,
    kid: String,
}

#[derive(Serialize, Deserialize)]
struct Payload<S> {
    iss: String,
    aud: String,
    sub: S,
    holder: String,
    iat: i64,
    exp: i64,
}

/// The claims of a token that is not signed yet. A lifetime above [`MAX_TOKEN_LIFETIME`] is cut.
pub(super) fn unsigned<S: Clone + Serialize>(
    audience: Audience,
    kid: &Kid,
    (scope, holder): (S, &str),
    lifetime: Duration,
    now: Timestamp,
) -> Result<(String, Claims<S>), MintError> {
    let lifetime = SignedDuration::try_from(lifetime.min(MAX_TOKEN_LIFETIME))?;
    let (iat, exp) = (now.as_second(), now.as_second().saturating_add(lifetime.as_secs()));
    let claims = Claims { scope: scope.clone(), holder: holder.to_owned(), expires_at: Timestamp::from_second(exp)? };
    let header = Header { alg: audience.algorithm(), typ: Some("JWT".to_owned()), kid: kid.to_string() };
    let (iss, aud) = (ISSUER.to_owned(), audience.as_str().to_owned());
    let payload = Payload { iss, aud, sub: scope, holder: holder.to_owned(), iat, exp };
    Ok((format!("{}.{}", encode(&header)?, encode(&payload)?), claims))
}

pub(super) fn with_signature(unsigned: &str, signature: &[u8]) -> String {
    format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The claims of a token, if `verify(kid, signed, signature)` accepts its signature and the token is valid for the
/// audience now.
pub(super) fn read<S: DeserializeOwned>(
    audience: Audience,
    token: &str,
    now: Timestamp,
    verify: impl Fn(&str, &str, &[u8]) -> bool,
) -> Result<Claims<S>, InvalidToken> {
    let (signed, signature) = token.rsplit_once('.').ok_or(InvalidToken)?;
    let (header, payload) = signed.split_once('.').ok_or(InvalidToken)?;
    let header: Header = decode(header)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| InvalidToken)?;
    if header.alg != audience.algorithm() || !verify(&header.kid, signed, &signature) {
        return Err(InvalidToken);
    }
    let Payload { iss, aud, sub, holder, exp, .. } = decode(payload)?;
    if iss != ISSUER || aud != audience.as_str() || exp <= now.as_second() {
        return Err(InvalidToken);
    }
    Ok(Claims { scope: sub, holder, expires_at: Timestamp::from_second(exp).map_err(|_| InvalidToken)? })
}

fn encode(part: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_string(part)?))
}

fn decode<T: DeserializeOwned>(part: &str) -> Result<T, InvalidToken> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidToken)?;
    serde_json::from_slice(&json).map_err(|_| InvalidToken)
}
