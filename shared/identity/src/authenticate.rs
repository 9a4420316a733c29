//! Authentication of webhooks. A request changes from [`Raw`] to [`Verified`]; only the verifier in this module can
//! create a `Verified`.

use http::HeaderMap;
use jiff::Timestamp;
use ringfence_protocol::Credential;
use sha2::{Digest as _, Sha256};

use crate::org_keys::{DerivedKeys, Key, OrgKeyVerifier, PlatformKeyVerifier};
use crate::signature::{Signature, is_fresh};

/// A request before verification.
pub struct Raw<'a, 'b> {
    /// The org in the path, as text. None at the platform URL.
    pub org: Option<&'a str>,
    pub headers: &'a HeaderMap,
    /// `?v=`: the version of the key that made the signature. Only signatures need it, because a key contains its
    /// version.
    pub key_version: Option<&'a str>,
    /// The body's bytes as received, because a signature covers exactly these.
    pub body: &'b [u8],
    pub received_at: Timestamp,
}

/// A request with a verified sender.
#[derive(Debug)]
pub struct Verified<'a> {
    credential: Credential,
    body: &'a [u8],
    received_at: Timestamp,
}

impl<'a> Verified<'a> {
    #[must_use]
    pub fn credential(&self) -> Credential {
        self.credential
    }

    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    #[must_use]
    pub fn received_at(&self) -> Timestamp {
        self.received_at
    }

    /// SHA-256 of the body, in hexadecimal. Identifies the message.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(self.body))
    }
}

/// No valid credential. An unknown org, a malformed org id and a wrong secret give the same error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no valid credential. OAuth 2.0, SHA-1 signatures and signatures without a timestamp are not supported: see \"Not \
     supported\" in docs/MESSAGES.md"
)]
pub struct Unauthorised;

pub struct Authenticator {
    org_keys: OrgKeyVerifier,
    platform: Option<Platform>,
    body_only_signatures: bool,
}

struct Platform {
    keys: PlatformKeyVerifier,
    versions: Vec<i32>,
}

impl Authenticator {
    /// Accepts the keys of orgs; the database decides which versions are valid. `body_only_signatures` accepts
    /// signatures without a timestamp, which can be replayed without a time limit.
    #[must_use]
    pub const fn new(org_keys: OrgKeyVerifier, body_only_signatures: bool) -> Self {
        Self { org_keys, platform: None, body_only_signatures }
    }

    /// Accepts also these versions of the platform key.
    #[must_use]
    pub fn with_platform(self, keys: PlatformKeyVerifier, versions: Vec<i32>) -> Self {
        Self { platform: Some(Platform { keys, versions }), ..self }
    }

    /// Verifies a request. One valid credential is enough: the key in `X-Vapi-Secret` or in `Authorization`, in each
    /// with or without `Bearer`, or a signature over the body.
    pub fn verify<'b>(&self, raw: &Raw<'_, 'b>) -> Result<Verified<'b>, Unauthorised> {
        let credential = match raw.org {
            Some(org) => self.org_credential(org, raw)?,
            None => self.platform_credential(raw)?,
        };
        Ok(Verified { credential, body: raw.body, received_at: raw.received_at })
    }

    fn org_credential(&self, org: &str, raw: &Raw<'_, '_>) -> Result<Credential, Unauthorised> {
        let org_id = org.parse().map_err(|_| Unauthorised)?;
        let key_version = self.version(&self.org_keys.keys_of(org_id), raw)?;
        Ok(Credential::Org { org_id, key_version })
    }

    fn platform_credential(&self, raw: &Raw<'_, '_>) -> Result<Credential, Unauthorised> {
        let platform = self.platform.as_ref().ok_or(Unauthorised)?;
        let version = self.version(&platform.keys.keys(), raw)?;
        if platform.versions.contains(&version) { Ok(Credential::Platform) } else { Err(Unauthorised) }
    }

    /// The version of the key that the sender has.
    fn version(&self, keys: &DerivedKeys<'_>, raw: &Raw<'_, '_>) -> Result<i32, Unauthorised> {
        presented_key(keys, raw.headers).or_else(|| self.signing_key(keys, raw)).ok_or(Unauthorised)
    }

    fn signing_key(&self, keys: &DerivedKeys<'_>, raw: &Raw<'_, '_>) -> Option<i32> {
        let signature = Signature::parse(header(raw.headers, "x-signature")?)?;
        let version = raw.key_version.map_or(Some(1), |version| version.parse().ok())?;
        let timestamp = header(raw.headers, "x-timestamp").filter(|text| is_fresh(text, raw.received_at));
        let timestamped = timestamp.map(|text| vec![text.as_bytes(), b".".as_slice(), raw.body]);
        // Vapi sends a timestamp by default, also if the signature does not cover it.
        let body_only = self.body_only_signatures.then(|| vec![raw.body]);
        let payloads: Vec<_> = timestamped.into_iter().chain(body_only).collect();
        // Every key and payload is tried, so that the time taken does not reveal the matching one.
        let signs =
            |key: &Key| payloads.iter().filter(|signed| signature.signs(key.expose().as_bytes(), signed)).count();
        let matching: usize = keys.candidates(version).map(|key| signs(&key)).sum();
        (matching > 0).then_some(version)
    }
}

fn presented_key(keys: &DerivedKeys<'_>, headers: &HeaderMap) -> Option<i32> {
    let presented = ["x-vapi-secret", "authorization"].into_iter().filter_map(|name| header(headers, name));
    presented.map(without_scheme).find_map(|key| keys.verify(key))
}

/// A header's text. An empty header is treated as absent, because Vapi sends an empty `X-Vapi-Secret` when no secret is
/// set.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|value| !value.is_empty())
}

/// A header without the scheme `Bearer`. Whether Vapi sends the scheme, and in which header, is set in the credential,
/// and the key alone is what matters.
fn without_scheme(value: &str) -> &str {
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, Mac};
    use http::HeaderValue;
    use sha2::Sha256;

    use super::*;
    use crate::masters::tests::{A, masters, ring};
    use crate::org_keys::Subject;

    const ORG: &str = "8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11";
    const OTHER: &str = "8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c12";
    const BODY: &[u8] = br#"{"message":{"type":"hang"}}"#;

    fn key(org: &str) -> String {
        masters(A).mint(Subject::Org(org.parse().unwrap()), 1).expose().to_owned()
    }

    fn authenticator(body_only: bool) -> Authenticator {
        let platform = ring(A).platform_key_verifier().unwrap();
        Authenticator::new(ring(A).org_key_verifier().unwrap(), body_only).with_platform(platform, vec![1])
    }

    fn now() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn verify(org: Option<&str>, list: &[(&'static str, &str)], body_only: bool) -> Result<Credential, Unauthorised> {
        let headers = headers(list);
        let raw = Raw { org, headers: &headers, key_version: None, body: BODY, received_at: now() };
        authenticator(body_only).verify(&raw).map(|verified| verified.credential())
    }

    fn sign(key: &str, parts: &[&[u8]]) -> String {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key.as_bytes()).unwrap();
        for part in parts {
            mac.update(part);
        }
        hex::encode(mac.finalize().into_bytes())
    }

    fn of_org() -> Credential {
        Credential::Org { org_id: ORG.parse().unwrap(), key_version: 1 }
    }

    #[test]
    fn each_mechanism_opens_the_org_of_its_key() {
        let key = key(ORG);
        let signature = sign(&key, &[b"1795348800.", BODY]);
        assert_eq!(verify(Some(ORG), &[("x-vapi-secret", &key)], false), Ok(of_org()));
        assert_eq!(verify(Some(ORG), &[("authorization", &format!("Bearer {key}"))], false), Ok(of_org()));
        assert_eq!(
            verify(Some(ORG), &[("x-signature", &signature), ("x-timestamp", "1795348800")], false),
            Ok(of_org())
        );
    }

    /// E6.
    #[test]
    fn a_key_is_accepted_in_both_headers_with_and_without_its_scheme() {
        let key = key(ORG);
        for name in ["x-vapi-secret", "authorization"] {
            for value in [key.clone(), format!("Bearer {key}"), format!("bearer  {key} ")] {
                assert_eq!(verify(Some(ORG), &[(name, &value)], false), Ok(of_org()), "{name}: {value}");
            }
            for value in [format!("Basic {key}"), format!("Bearer{key}"), "Bearer ".to_owned(), "Bearer".to_owned()] {
                assert_eq!(verify(Some(ORG), &[(name, &value)], false), Err(Unauthorised), "{name}: {value}");
            }
        }
        assert_eq!(verify(Some(&ORG.to_uppercase()), &[("x-vapi-secret", &key)], false), Ok(of_org()));
    }

    #[test]
    fn one_valid_credential_is_enough_and_an_empty_header_counts_as_absent() {
        let bearer = format!("bearer {}", key(ORG));
        assert_eq!(verify(Some(ORG), &[("x-vapi-secret", ""), ("authorization", &bearer)], false), Ok(of_org()));
        assert_eq!(verify(Some(ORG), &[("x-vapi-secret", "wrong"), ("authorization", &bearer)], false), Ok(of_org()));
    }

    #[test]
    fn unknown_org_malformed_org_and_wrong_secret_are_refused_alike() {
        let key = key(ORG);
        for (org, presented) in [
            (Some(OTHER), key.as_str()),
            (Some("not-a-uuid"), key.as_str()),
            (Some(""), key.as_str()),
            (Some(ORG), "rf_a_1_wrong"),
            (Some(ORG), ""),
            (None, key.as_str()),
        ] {
            assert_eq!(verify(org, &[("x-vapi-secret", presented)], false), Err(Unauthorised), "{org:?}");
        }
        assert_eq!(verify(Some(ORG), &[], false), Err(Unauthorised));
    }

    #[test]
    fn a_signature_needs_a_fresh_timestamp_unless_configured_otherwise() {
        let key = key(ORG);
        let body_only = sign(&key, &[BODY]);
        assert_eq!(verify(Some(ORG), &[("x-signature", &body_only)], false), Err(Unauthorised));
        assert_eq!(verify(Some(ORG), &[("x-signature", &body_only)], true), Ok(of_org()));
        // Vapi's plan may send a timestamp and sign only the body.
        let list = [("x-signature", body_only.as_str()), ("x-timestamp", "1795348800")];
        assert_eq!(verify(Some(ORG), &list, false), Err(Unauthorised));
        assert_eq!(verify(Some(ORG), &list, true), Ok(of_org()));
        let stale = sign(&key, &[b"1795348000.", BODY]);
        let list = [("x-signature", stale.as_str()), ("x-timestamp", "1795348000")];
        assert_eq!(verify(Some(ORG), &list, true), Err(Unauthorised));
    }

    #[test]
    fn the_platforms_key_opens_the_platforms_url_only() {
        let key = masters(A).mint(Subject::Platform, 1).expose().to_owned();
        assert_eq!(verify(None, &[("x-vapi-secret", &key)], false), Ok(Credential::Platform));
        assert_eq!(verify(Some(ORG), &[("x-vapi-secret", &key)], false), Err(Unauthorised));
        let retired = masters(A).mint(Subject::Platform, 2).expose().to_owned();
        assert_eq!(verify(None, &[("x-vapi-secret", &retired)], false), Err(Unauthorised));
    }
    #[test]
    fn without_the_platform_key_the_platform_url_is_refused() {
        let key = masters(A).mint(Subject::Platform, 1);
        let headers = headers(&[("x-vapi-secret", key.expose())]);
        let raw = Raw { org: None, headers: &headers, key_version: None, body: BODY, received_at: now() };
        let orgs_only = Authenticator::new(ring(A).org_key_verifier().unwrap(), false);
        assert_eq!(orgs_only.verify(&raw).map(|verified| verified.credential()), Err(Unauthorised));
    }
}
