//! Short-lived tokens for people's screens: JWT (RFC 7519), signed by HS256 with a key that is derived from a master key.

use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ringfence_vapi::OrgId;
use serde::{Deserialize, Serialize};

use crate::keys::MasterKeys;

const ISSUER: &str = "ringfence";
/// No token counts for longer.
pub const MAX_LIFETIME: Duration = Duration::from_hours(12);

/// Who a token is for, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The org whose calls its holder may see.
    pub org_id: OrgId,
    /// From then on it opens nothing.
    pub expires_at: Timestamp,
}

/// What is written in a token.
#[derive(Serialize, Deserialize)]
struct Payload {
    iss: String,
    aud: String,
    sub: OrgId,
    iat: i64,
    exp: i64,
}

/// A token opens nothing: it is no token, of another signer, for another purpose, or expired. Which of these is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no valid token")]
pub struct InvalidToken;

/// Signs and verifies tokens that watch an org's calls.
#[derive(Clone)]
pub struct Tokens(Vec<(String, Vec<u8>)>);

/// What the tokens of this release are for.
const AUDIENCE: &str = "live";

impl Tokens {
    /// With the keys of these masters: the first signs, all verify.
    #[must_use]
    pub fn new(masters: &MasterKeys) -> Self {
        Self(masters.token_keys().collect())
    }

    /// A token for an org's calls. A lifetime above [`MAX_LIFETIME`] is cut.
    pub fn mint(&self, org_id: OrgId, lifetime: Duration, now: Timestamp) -> Result<(String, Claims), InvalidToken> {
        let (kid, key) = self.0.first().ok_or(InvalidToken)?;
        let seconds = i64::try_from(lifetime.min(MAX_LIFETIME).as_secs()).map_err(|_| InvalidToken)?;
        let (iat, exp) = (now.as_second(), now.as_second() + seconds);
        let payload = Payload { iss: ISSUER.to_owned(), aud: AUDIENCE.to_owned(), sub: org_id, iat, exp };
        let header = Header { kid: Some(kid.clone()), ..Header::new(Algorithm::HS256) };
        let token =
            jsonwebtoken::encode(&header, &payload, &EncodingKey::from_secret(key)).map_err(|_| InvalidToken)?;
        Ok((token, Claims { org_id, expires_at: Timestamp::from_second(exp).map_err(|_| InvalidToken)? }))
    }

    /// What a token says, if it counts now.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, InvalidToken> {
        let kid = jsonwebtoken::decode_header(token).ok().and_then(|header| header.kid).ok_or(InvalidToken)?;
        let (_, key) = self.0.iter().find(|(named, _)| *named == kid).ok_or(InvalidToken)?;
        let decoded = jsonwebtoken::decode::<Payload>(token, &DecodingKey::from_secret(key), &validation());
        let Payload { sub, exp, .. } = decoded.map_err(|_| InvalidToken)?.claims;
        if exp <= now.as_second() {
            return Err(InvalidToken);
        }
        Ok(Claims { org_id: sub, expires_at: Timestamp::from_second(exp).map_err(|_| InvalidToken)? })
    }
}

/// Of one algorithm, whatever the token's header says. The time is compared by us, with the time of the request.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    validation.validate_exp = false;
    validation
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

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
        tokens(A).mint(org(), Duration::from_mins(5), now()).unwrap().0
    }

    #[test]
    fn a_token_counts_until_it_expires() {
        let claims = tokens(A).verify(&minted(), now()).unwrap();
        assert_eq!(claims, Claims { org_id: org(), expires_at: "2026-11-24T12:05:00Z".parse().unwrap() });
        assert_eq!(tokens(A).verify(&minted(), claims.expires_at), Err(InvalidToken));
    }

    #[test]
    fn no_token_counts_longer_than_half_a_day() {
        let (_, claims) = tokens(A).mint(org(), Duration::MAX, now()).unwrap();
        assert_eq!(claims.expires_at, "2026-11-25T00:00:00Z".parse().unwrap());
    }

    #[test]
    fn masters_overlap_while_one_replaces_the_other() {
        assert!(tokens(&format!("{B},{A}")).verify(&minted(), now()).is_ok());
        assert_eq!(tokens(B).verify(&minted(), now()), Err(InvalidToken));
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
            assert_eq!(tokens(A).verify(&forged, now()), Err(InvalidToken), "{forged}");
        }
    }

    #[test]
    fn a_token_for_another_purpose_opens_nothing() {
        let (kid, key) = tokens(A).0.remove(0);
        for (iss, aud) in [("ringfence", "console"), ("somebody", "live")] {
            let payload = Payload {
                iss: iss.to_owned(),
                aud: aud.to_owned(),
                sub: org(),
                iat: now().as_second(),
                exp: now().as_second() + 60,
            };
            let header = Header { kid: Some(kid.clone()), ..Header::new(Algorithm::HS256) };
            let token = jsonwebtoken::encode(&header, &payload, &EncodingKey::from_secret(&key)).unwrap();
            assert_eq!(tokens(A).verify(&token, now()), Err(InvalidToken), "{iss} {aud}");
        }
    }
}
