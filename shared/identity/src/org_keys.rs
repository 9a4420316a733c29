//! Org keys and the platform key, which authenticate webhooks. The webhook function verifies them without asking the
//! database.
//!
//! A key is `rf_{kid}_{version}_{mac}`: the name of the master key, the version of the org's key, and
//! `base64url(HMAC-SHA256(derived key, subject 0 version))`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ringfence_vapi::OrgId;
use subtle::ConstantTimeEq as _;

use crate::keys::{KeySet, Named, Subkey};
use crate::purpose::Purpose;

/// The URL that a key gives access to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// One org's webhook URL.
    Org(OrgId),
    /// The platform's webhook URL.
    Platform,
}

impl Subject {
    pub(crate) const fn purpose(self) -> Purpose {
        match self {
            Self::Org(_) => Purpose::OrgKeys,
            Self::Platform => Purpose::PlatformKeys,
        }
    }
}

/// A complete key: a secret. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// The key's text, to show it to its owner or to sign with it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Verifies the keys of orgs. The key that verifies an HMAC can also compute it, so the type, not the key, prevents
/// minting.
#[derive(Clone)]
pub struct OrgKeyVerifier(KeySet<Subkey>);

impl OrgKeyVerifier {
    pub(crate) const fn new(keys: KeySet<Subkey>) -> Self {
        Self(keys)
    }

    /// The version of a presented key, if it is a key of the org.
    #[must_use]
    pub fn verify(&self, org_id: OrgId, presented: &str) -> Option<i32> {
        self.keys_of(org_id).verify(presented)
    }

    pub(crate) fn keys_of(&self, org_id: OrgId) -> DerivedKeys<'_> {
        DerivedKeys::new(&self.0, Subject::Org(org_id))
    }
}

/// Verifies the key of the platform.
#[derive(Clone)]
pub struct PlatformKeyVerifier(KeySet<Subkey>);

impl PlatformKeyVerifier {
    pub(crate) const fn new(keys: KeySet<Subkey>) -> Self {
        Self(keys)
    }

    /// The version of a presented key, if it is a key of the platform.
    #[must_use]
    pub fn verify(&self, presented: &str) -> Option<i32> {
        self.keys().verify(presented)
    }

    pub(crate) fn keys(&self) -> DerivedKeys<'_> {
        DerivedKeys::new(&self.0, Subject::Platform)
    }
}

/// All keys of one subject.
pub(crate) struct DerivedKeys<'a> {
    keys: &'a KeySet<Subkey>,
    subject: String,
}

impl<'a> DerivedKeys<'a> {
    pub(crate) fn new(keys: &'a KeySet<Subkey>, subject: Subject) -> Self {
        let subject = match subject {
            Subject::Org(org_id) => org_id.to_string(),
            Subject::Platform => "platform".to_owned(),
        };
        Self { keys, subject }
    }

    pub(crate) fn newest(&self, version: i32) -> Key {
        self.derive(&self.keys.newest, version)
    }

    /// The keys of a version: two while one master key replaces another.
    pub(crate) fn candidates(&self, version: i32) -> impl Iterator<Item = Key> {
        self.keys.iter().map(move |named| self.derive(named, version))
    }

    /// The version of a presented key. The comparison takes the same time for every wrong MAC.
    pub(crate) fn verify(&self, presented: &str) -> Option<i32> {
        let (kid, version) = kid_and_version(presented)?;
        let expected = self.derive(self.keys.find(kid)?, version);
        bool::from(expected.0.as_bytes().ct_eq(presented.as_bytes())).then_some(version)
    }

    fn derive(&self, Named { kid, key }: &Named<Subkey>, version: i32) -> Key {
        let mac = key.mac(&format!("{}\0{version}", self.subject));
        Key(format!("rf_{kid}_{version}_{}", URL_SAFE_NO_PAD.encode(mac)))
    }
}

/// Splits `rf_{kid}_{version}_{mac}`.
fn kid_and_version(key: &str) -> Option<(&str, i32)> {
    let mut parts = key.strip_prefix("rf_")?.splitn(3, '_');
    let (kid, version, _mac) = (parts.next()?, parts.next()?, parts.next()?);
    Some((kid, version.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::masters::tests::{A, B, masters, ring};

    const ACME: &str = "8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11";
    const OTHER: &str = "8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c12";

    fn org(text: &str) -> OrgId {
        text.parse().unwrap()
    }

    fn mint(master: &str, version: i32) -> Key {
        masters(master).mint(Subject::Org(org(ACME)), version)
    }

    fn verify(master: &str, org_id: &str, key: &str) -> Option<i32> {
        ring(master).org_key_verifier().unwrap().verify(org(org_id), key)
    }

    #[test]
    fn a_key_is_valid_for_its_org_and_version_only() {
        let key = mint(A, 3);
        assert!(key.expose().starts_with("rf_a_3_"));
        assert_eq!(verify(A, ACME, key.expose()), Some(3));
        assert_eq!(verify(A, OTHER, key.expose()), None);
        assert_eq!(ring(A).platform_key_verifier().unwrap().verify(key.expose()), None);
        for wrong in
            ["", "rf_a_3_", "rf_a_3", &key.expose().replace("_3_", "_4_"), &key.expose().replace("_3_", "_03_")]
        {
            assert_eq!(verify(A, ACME, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn keys_of_two_masters_are_valid_while_one_replaces_the_other() {
        let (old, both) = (mint(A, 1), format!("{B},{A}"));
        assert_eq!(verify(&both, ACME, old.expose()), Some(1));
        assert!(mint(&both, 1).expose().starts_with("rf_b_1_"));
        assert_eq!(verify(&both, ACME, mint(&both, 1).expose()), Some(1));
        assert_eq!(verify(B, ACME, old.expose()), None);
    }

    #[test]
    fn a_key_that_names_another_master_is_refused() {
        let key = mint(A, 1);
        assert_eq!(verify(&format!("{B},{A}"), ACME, &key.expose().replace("rf_a_", "rf_b_")), None);
    }

    #[test]
    fn the_platform_key_is_no_org_key() {
        let key = masters(A).mint(Subject::Platform, 2);
        assert_eq!(ring(A).platform_key_verifier().unwrap().verify(key.expose()), Some(2));
        assert_eq!(verify(A, ACME, key.expose()), None);
    }

    #[test]
    fn a_key_does_not_print_itself() {
        assert_eq!(format!("{:?}", mint(A, 1)), "[redacted]");
    }

    proptest! {
        #[test]
        fn a_minted_key_verifies_for_its_org_alone(
            master in any::<[u8; 32]>(),
            kid in "[a-z0-9]{1,8}",
            ids in any::<[u128; 2]>(),
            version in any::<i32>(),
        ) {
            use base64::engine::general_purpose::STANDARD;
            let [own, other] = ids.map(|id| org(&uuid::Uuid::from_u128(id).to_string()));
            let masters = masters(&format!("{kid}:{}", STANDARD.encode(master)));
            let key = masters.mint(Subject::Org(own), version);
            let verifier = masters.key_ring(&[Purpose::OrgKeys]).unwrap().org_key_verifier().unwrap();
            prop_assert_eq!(verifier.verify(own, key.expose()), Some(version));
            prop_assert_eq!(verifier.verify(other, key.expose()), (own == other).then_some(version));
        }

        #[test]
        fn no_other_text_is_a_key(text in "(rf_a_[0-9]{1,3}_)?[A-Za-z0-9_-]{0,60}") {
            prop_assert_eq!(verify(A, ACME, &text), None);
        }
    }
}
