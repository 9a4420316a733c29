//! Tokens that sign people in to the console, for one org or for operators. Only `admin` has the private key (Ed25519,
//! RFC 8032).

use std::time::Duration;

use jiff::Timestamp;
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::sign::{Signer, Verifier};

use super::{Audience, ConsoleClaims, InvalidToken, MintError, Scope, jwt};
use crate::keys::{CryptoError, KEY_LENGTH, KeySet, Kid, Named, Subkey};

/// Signs console tokens.
pub struct ConsoleTokenMinter {
    kid: Kid,
    key: PKey<Private>,
}

impl ConsoleTokenMinter {
    pub(crate) fn new(seed: &Named<Subkey>) -> Result<Self, CryptoError> {
        Ok(Self { kid: seed.kid.clone(), key: private_key(&seed.key)? })
    }

    /// A lifetime above [`MAX_TOKEN_LIFETIME`](ringfence_protocol::admin::MAX_TOKEN_LIFETIME) is cut.
    pub fn mint(
        &self,
        scope: Scope,
        holder: &str,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<(String, ConsoleClaims), MintError> {
        let (unsigned, claims) = jwt::unsigned(Audience::Console, &self.kid, (scope, holder), lifetime, now)?;
        let signature = sign(&self.key, &unsigned).map_err(CryptoError::from)?;
        Ok((jwt::with_signature(&unsigned, &signature), claims))
    }
}

/// Verifies console tokens. It has public keys only.
#[derive(Clone)]
pub struct ConsoleTokenVerifier(KeySet<PKey<Public>>);

impl ConsoleTokenVerifier {
    pub(crate) fn new(keys: &KeySet<Subkey>) -> Result<Self, CryptoError> {
        let public = |named: &Named<Subkey>| PKey::public_key_from_raw_bytes(named.key.bytes(), Id::ED25519);
        Ok(Self(keys.try_map(public)?))
    }

    pub fn verify(&self, token: &str, now: Timestamp) -> Result<ConsoleClaims, InvalidToken> {
        jwt::read(Audience::Console, token, now, |kid, signed, signature| {
            self.0.find(kid).is_some_and(|named| is_signed(&named.key, signed, signature))
        })
    }
}

/// The public key of a seed.
pub(crate) fn public_key(seed: &Subkey) -> Result<Subkey, CryptoError> {
    let public: [u8; KEY_LENGTH] = private_key(seed)?.raw_public_key()?.try_into().map_err(|_| ErrorStack::get())?;
    Ok(Subkey::new(public))
}

fn private_key(seed: &Subkey) -> Result<PKey<Private>, ErrorStack> {
    PKey::private_key_from_raw_bytes(seed.bytes(), Id::ED25519)
}

fn sign(key: &PKey<Private>, message: &str) -> Result<Vec<u8>, ErrorStack> {
    Signer::new_without_digest(key)?.sign_oneshot_to_vec(message.as_bytes())
}

/// A signature that OpenSSL cannot read is invalid.
fn is_signed(key: &PKey<Public>, message: &str, signature: &[u8]) -> bool {
    let verified = Verifier::new_without_digest(key)
        .and_then(|mut verifier| verifier.verify_oneshot(signature, message.as_bytes()));
    matches!(verified, Ok(true))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use ringfence_vapi::OrgId;
    use serde_json::json;

    use super::*;
    use crate::keys::hmac_sha256;
    use crate::masters::tests::{A, B, masters, ring};
    use crate::ring::{KeyRing, Ring};

    fn org() -> OrgId {
        "8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11".parse().unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn mint(master: &str, scope: Scope) -> String {
        let minter = masters(master).console_token_minter().unwrap();
        minter.mint(scope, "ada", Duration::from_mins(5), now()).unwrap().0
    }

    fn verify(master: &str, token: &str) -> Result<ConsoleClaims, InvalidToken> {
        ring(master).console_token_verifier().unwrap().verify(token, now())
    }

    /// RFC 8037, appendix A: the same public key, the same signature over the same bytes, and it verifies.
    #[test]
    fn the_example_of_the_specification_has_the_same_signature() {
        let seed = Subkey::decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let public = public_key(&seed).unwrap();
        assert_eq!(public.encode(), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let expected = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let signature = sign(&private_key(&seed).unwrap(), signed).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(&signature), expected);
        let public = PKey::public_key_from_raw_bytes(public.bytes(), Id::ED25519).unwrap();
        assert!(is_signed(&public, signed, &signature));
        assert!(!is_signed(&public, &format!("{signed}g"), &signature));
    }

    #[test]
    fn tokens_of_orgs_and_operators_are_valid_until_they_expire() {
        for scope in [Scope::Org(org()), Scope::Operator] {
            let claims = verify(A, &mint(A, scope)).unwrap();
            let expires_at = "2026-11-24T12:05:00Z".parse().unwrap();
            assert_eq!(claims, ConsoleClaims { scope, holder: "ada".to_owned(), expires_at });
            let verifier = ring(A).console_token_verifier().unwrap();
            assert_eq!(verifier.verify(&mint(A, scope), claims.expires_at), Err(InvalidToken));
        }
    }

    #[test]
    fn tokens_of_two_masters_are_valid_while_one_replaces_the_other() {
        let both = format!("{B},{A}");
        assert!(verify(&both, &mint(A, Scope::Operator)).is_ok());
        assert!(verify(&both, &mint(&both, Scope::Operator)).is_ok());
        assert_eq!(verify(B, &mint(A, Scope::Operator)), Err(InvalidToken));
        assert!(verify(B, &mint(&both, Scope::Operator)).is_ok());
    }

    /// A token for an operator with any header, signed by `sign`.
    fn forge(header: &serde_json::Value, sign: impl Fn(&str) -> Vec<u8>) -> String {
        let exp = now().as_second() + 60;
        let payload =
            json!({"iss": "ringfence", "aud": "console", "sub": "operator", "holder": "ada", "iat": 0, "exp": exp});
        let unsigned = [header, &payload].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        jwt::with_signature(&unsigned, &sign(&unsigned))
    }

    /// Each token is made with a key that the console or `live` holds: the public key, or the key of live-view tokens.
    #[test]
    fn the_keys_of_the_console_make_no_console_token() {
        let ring: KeyRing = masters(A).key_ring(Ring::Console.purposes()).unwrap();
        let text = ring.expose();
        let key = |name: &str| {
            let entry = text.split(',').find_map(|entry| entry.strip_prefix(name)).unwrap();
            Subkey::decode(entry).unwrap()
        };
        let (live, public) = (key("a.live="), key("a.console="));
        let eddsa = json!({"alg": "EdDSA", "kid": "a"});
        let hs256 = json!({"alg": "HS256", "kid": "a"});
        let seed_of = |key: &Subkey| private_key(key).unwrap();
        for (attack, token) in [
            (
                "an HMAC with the public key",
                forge(&hs256, |text| hmac_sha256(public.bytes(), text.as_bytes()).to_vec()),
            ),
            ("an HMAC that claims EdDSA", forge(&eddsa, |text| hmac_sha256(public.bytes(), text.as_bytes()).to_vec())),
            ("an HMAC with the key of live tokens", forge(&hs256, |text| live.mac(text).to_vec())),
            ("the public key as a seed", forge(&eddsa, |text| sign(&seed_of(&public), text).unwrap())),
            ("the key of live tokens as a seed", forge(&eddsa, |text| sign(&seed_of(&live), text).unwrap())),
            ("no signature", forge(&json!({"alg": "none", "kid": "a"}), |_| Vec::new())),
            ("no signature that claims EdDSA", forge(&eddsa, |_| Vec::new())),
            ("a signature of zeros", forge(&eddsa, |_| vec![0; 64])),
            ("a live token", ring.live_tokens().unwrap().mint(org(), "ada", Duration::from_mins(5), now()).unwrap().0),
        ] {
            assert_eq!(ring.console_token_verifier().unwrap().verify(&token, now()), Err(InvalidToken), "{attack}");
            assert_eq!(ring.live_tokens().unwrap().verify(&token, now()).is_ok(), attack == "a live token", "{attack}");
        }
    }

    #[test]
    fn a_signature_of_one_master_is_not_one_of_the_other() {
        let seed = private_key(&Subkey::derive(&[0; 32], crate::Purpose::ConsoleTokens, &Kid::parse("a").unwrap()));
        let seed = seed.unwrap();
        let with_kid = |kid: &str| forge(&json!({"alg": "EdDSA", "kid": kid}), |text| sign(&seed, text).unwrap());
        let both = format!("{B},{A}");
        assert!(verify(&both, &with_kid("a")).is_ok());
        for kid in ["b", "c", ""] {
            assert_eq!(verify(&both, &with_kid(kid)), Err(InvalidToken), "{kid}");
        }
        let without_kid = forge(&json!({"alg": "EdDSA"}), |text| sign(&seed, text).unwrap());
        assert_eq!(verify(&both, &without_kid), Err(InvalidToken));
    }

    #[test]
    fn a_token_whose_scope_was_altered_is_refused() {
        let token = mint(A, Scope::Org(org()));
        let parts: Vec<&str> = token.split('.').collect();
        let payload = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        let altered = URL_SAFE_NO_PAD.encode(payload.replace(&org().to_string(), "operator"));
        assert_eq!(verify(A, &format!("{}.{altered}.{}", parts[0], parts[2])), Err(InvalidToken));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_token_round_trips(holder in ".{0,40}", id in any::<Option<u128>>(), seconds in 1..43_200_u64) {
            let org = |id| uuid::Uuid::from_u128(id).to_string().parse().unwrap();
            let scope = id.map_or(Scope::Operator, |id| Scope::Org(org(id)));
            let minter = masters(A).console_token_minter().unwrap();
            let (token, claims) = minter.mint(scope, &holder, Duration::from_secs(seconds), now()).unwrap();
            prop_assert_eq!((claims.scope, &claims.holder), (scope, &holder));
            prop_assert_eq!(verify(A, &token), Ok(claims));
        }
    }
}
