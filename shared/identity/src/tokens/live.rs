//! Tokens for the live view and the playback of recordings, each for one org. Made by `admin` and by the console.

use std::time::Duration;

use jiff::Timestamp;
use ringfence_vapi::OrgId;
use subtle::ConstantTimeEq as _;

use super::{Audience, InvalidToken, LiveClaims, MintError, jwt};
use crate::keys::{KeySet, Subkey};
use crate::seal::CursorSealer;

/// Signs and verifies tokens for the live view. It cannot make a token for more than one org.
#[derive(Clone)]
pub struct LiveTokens(KeySet<Subkey>);

impl LiveTokens {
    pub(crate) const fn new(keys: KeySet<Subkey>) -> Self {
        Self(keys)
    }

    /// Seals the cursors of clients with a key that is derived from the key of the tokens.
    #[must_use]
    pub fn cursor_sealer(&self) -> CursorSealer {
        CursorSealer::new(self.0.map(|named| Subkey::new(named.key.mac("live cursor"))))
    }

    /// A lifetime above [`MAX_TOKEN_LIFETIME`](ringfence_protocol::admin::MAX_TOKEN_LIFETIME) is cut.
    pub fn mint(
        &self,
        org_id: OrgId,
        holder: &str,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<(String, LiveClaims), MintError> {
        let newest = &self.0.newest;
        let (unsigned, claims) = jwt::unsigned(Audience::Live, &newest.kid, (org_id, holder), lifetime, now)?;
        Ok((jwt::with_signature(&unsigned, &newest.key.mac(&unsigned)), claims))
    }

    pub fn verify(&self, token: &str, now: Timestamp) -> Result<LiveClaims, InvalidToken> {
        jwt::read(Audience::Live, token, now, |kid, signed, signature| {
            self.0.find(kid).is_some_and(|named| named.key.mac(signed).ct_eq(signature).into())
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::keys::hmac_sha256;
    use crate::masters::tests::{A, B, masters};

    fn tokens(master: &str) -> LiveTokens {
        masters(master).live_tokens()
    }

    fn org() -> OrgId {
        "8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11".parse().unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn minted() -> String {
        tokens(A).mint(org(), "ada", Duration::from_mins(5), now()).unwrap().0
    }

    /// A token with any header and payload, signed with the right key.
    fn signed(header: &serde_json::Value, payload: &serde_json::Value) -> String {
        let unsigned = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        jwt::with_signature(&unsigned, &tokens(A).0.newest.key.mac(&unsigned))
    }

    #[test]
    fn a_token_is_valid_until_it_expires() {
        let claims = tokens(A).verify(&minted(), now()).unwrap();
        let expires_at = "2026-11-24T12:05:00Z".parse().unwrap();
        assert_eq!(claims, LiveClaims { scope: org(), holder: "ada".to_owned(), expires_at });
        assert_eq!(tokens(A).verify(&minted(), claims.expires_at), Err(InvalidToken));
    }

    #[test]
    fn no_token_is_valid_for_longer_than_half_a_day() {
        let (_, claims) = tokens(A).mint(org(), "ada", Duration::MAX, now()).unwrap();
        assert_eq!(claims.expires_at, "2026-11-25T00:00:00Z".parse().unwrap());
    }

    #[test]
    fn tokens_of_two_masters_are_valid_while_one_replaces_the_other() {
        assert!(tokens(&format!("{B},{A}")).verify(&minted(), now()).is_ok());
        assert_eq!(tokens(B).verify(&minted(), now()), Err(InvalidToken));
    }

    #[test]
    fn a_token_that_was_altered_or_is_unsigned_is_refused() {
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
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}.{}", encode(r#"{"alg":"HS384","kid":"a"}"#), parts[1], parts[2]),
            format!("{}.{}.{}", encode(r#"{"alg":"HS256"}"#), parts[1], parts[2]),
            format!("{}.{}.{}", encode(r#"{"alg":"HS256","kid":"b"}"#), parts[1], parts[2]),
        ] {
            assert_eq!(tokens(A).verify(&forged, now()), Err(InvalidToken), "{forged}");
            assert_eq!(tokens(&format!("{B},{A}")).verify(&forged, now()), Err(InvalidToken), "{forged}");
        }
    }

    #[test]
    fn a_signed_token_of_another_kind_is_refused() {
        let exp = now().as_second() + 60;
        let header = json!({"alg": "HS256", "kid": "a"});
        let payload = json!({"iss": "ringfence", "aud": "live", "sub": org(), "holder": "ada", "iat": 0, "exp": exp});
        let verify = |header: &serde_json::Value, payload: &serde_json::Value| {
            tokens(A).verify(&signed(header, payload), now()).is_ok()
        };
        assert!(verify(&header, &payload));
        assert!(!verify(&json!({"alg": "EdDSA", "kid": "a"}), &payload));
        for (field, value) in [("iss", "somebody"), ("aud", "console"), ("sub", "operator")] {
            let mut payload = payload.clone();
            payload[field] = json!(value);
            assert!(!verify(&header, &payload), "{field}");
        }
    }

    /// RFC 7515, appendix A.1.
    #[test]
    fn the_example_of_the_specification_has_the_same_signature() {
        let key = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = URL_SAFE_NO_PAD.encode(hmac_sha256(&key, signed.as_bytes()));
        assert_eq!(signature, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    proptest! {
        #[test]
        fn a_token_round_trips(holder in ".{0,40}", id in any::<u128>(), seconds in 1..43_200_u64) {
            let org: OrgId = uuid::Uuid::from_u128(id).to_string().parse().unwrap();
            let (token, claims) = tokens(A).mint(org, &holder, Duration::from_secs(seconds), now()).unwrap();
            prop_assert_eq!((claims.scope, &claims.holder), (org, &holder));
            prop_assert_eq!(tokens(A).verify(&token, now()), Ok(claims));
        }

        #[test]
        fn no_other_text_is_a_token(text in "[A-Za-z0-9_.-]{0,200}") {
            prop_assert_eq!(tokens(A).verify(&text, now()), Err(InvalidToken));
        }
    }
}
