//! Keys, derived from a master key, so that the webhook function verifies them without the database.
//!
//! A key is `rf_{kid}_{version}_{mac}`: the id of the master key, the version of the org's key, and
//! `base64url(HMAC-SHA256(master, label 0 subject 0 kid 0 version))`. Two master keys may be in use while one replaces
//! the other.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use ringfence_vapi::OrgId;
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The minimum length of a master key in bytes: the length of the MAC.
const MIN_MASTER_LENGTH: usize = 32;
/// A master key and its replacement.
const MAX_MASTERS: usize = 2;

/// The label of the keys that sign tokens. Each purpose has its own label, so that a key of one purpose is never valid
/// for another.
const TOKEN_LABEL: &str = "ringfence/token-key";

/// The label of the secrets that sign messages to an org's endpoints.
const TOOL_LABEL: &str = "ringfence/tool-secret";

/// The label of the keys that seal stored secrets (AES-256 needs as many bytes as the MAC has).
const SEALING_LABEL: &str = "ringfence/sealing-key";

/// The label of the number hashes in tombstones.
const NUMBER_LABEL: &str = "ringfence/number-mark";

/// The secret that signs messages to an org's endpoints.
#[derive(Clone, PartialEq, Eq)]
pub struct ToolSecret(Vec<u8>);

impl ToolSecret {
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The secret as the Standard Webhooks specification writes it, `whsec_` and base64, to show it to its owner.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("whsec_{}", STANDARD.encode(&self.0))
    }
}

/// The URL that a key gives access to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// One org's webhook URL.
    Org(OrgId),
    /// The platform's webhook URL.
    Platform,
}

impl Subject {
    /// Each purpose has its own label, so that a key of one purpose is never valid for another.
    fn label_and_name(self) -> (&'static str, String) {
        match self {
            Self::Org(org_id) => ("ringfence/org-key", org_id.to_string()),
            Self::Platform => ("ringfence/platform-key", "platform".to_owned()),
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

#[derive(Clone)]
struct Master {
    kid: String,
    secret: Vec<u8>,
}

/// The master keys. The first creates keys; all verify them.
#[derive(Clone)]
pub struct MasterKeys(Vec<Master>);

/// The text is not `kid:base64[,kid:base64]` with at least 32 bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidMasterKeys;

impl FromStr for MasterKeys {
    type Err = InvalidMasterKeys;

    fn from_str(text: &str) -> Result<Self, InvalidMasterKeys> {
        let masters = text.split(',').map(parse_master).collect::<Option<Vec<_>>>().ok_or(InvalidMasterKeys)?;
        let mut kids: Vec<_> = masters.iter().map(|master| &master.kid).collect();
        kids.sort_unstable();
        kids.dedup();
        let usable = kids.len() == masters.len() && masters.len() <= MAX_MASTERS;
        if usable { Ok(Self(masters)) } else { Err(InvalidMasterKeys) }
    }
}

fn parse_master(text: &str) -> Option<Master> {
    let (kid, secret) = text.trim().split_once(':')?;
    let secret = STANDARD.decode(secret).ok()?;
    (is_kid(kid) && secret.len() >= MIN_MASTER_LENGTH).then(|| Master { kid: kid.to_owned(), secret })
}

fn is_kid(kid: &str) -> bool {
    (1..=8).contains(&kid.len()) && kid.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

impl MasterKeys {
    /// The key of a version, derived from the first master key.
    #[must_use]
    pub fn mint(&self, subject: Subject, version: i32) -> Key {
        // `MasterKeys` is never empty.
        self.candidates(subject, version).next().unwrap_or_else(|| Key(String::new()))
    }

    /// The version of a presented key. None: it is not a key of the subject. The comparison takes constant time.
    #[must_use]
    pub fn verify(&self, subject: Subject, presented: &str) -> Option<i32> {
        let (kid, version, _mac) = split(presented)?;
        let master = self.0.iter().find(|master| master.kid == kid)?;
        let expected = derive(master, subject, version);
        bool::from(expected.0.as_bytes().ct_eq(presented.as_bytes())).then_some(version)
    }

    /// The keys that sign tokens, one for each master key, with its kid. The first signs.
    pub(crate) fn token_keys(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        self.0.iter().filter_map(|master| Some((master.kid.clone(), mac(master, &[TOKEN_LABEL, &master.kid])?)))
    }

    /// The keys that seal secrets, one for each master key, with its kid. The first seals.
    pub(crate) fn sealing_keys(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        self.0.iter().filter_map(|master| Some((master.kid.clone(), mac(master, &[SEALING_LABEL, &master.kid])?)))
    }

    /// The secrets that sign messages to an org's endpoints, one for each master key.
    pub fn tool_secrets(&self, org_id: OrgId) -> impl Iterator<Item = ToolSecret> {
        let name = org_id.to_string();
        self.0.iter().filter_map(move |master| mac(master, &[TOOL_LABEL, &name, &master.kid]).map(ToolSecret))
    }

    /// The keyed hashes of a phone number, `{kid}.{hash}`, one for each master key, for places where the number must
    /// not be stored. Without a master key the number cannot be found from its hash.
    #[must_use]
    pub fn number_tombstones(&self, number: &str) -> Vec<String> {
        let tombstone = |master: &Master| {
            let mac = mac(master, &[NUMBER_LABEL, &master.kid, number])?;
            Some(format!("{}.{}", master.kid, URL_SAFE_NO_PAD.encode(mac.get(..16)?)))
        };
        self.0.iter().filter_map(tombstone).collect()
    }

    /// The keys of a version, one for each master key.
    pub(crate) fn candidates(&self, subject: Subject, version: i32) -> impl Iterator<Item = Key> {
        self.0.iter().map(move |master| derive(master, subject, version))
    }
}

/// `rf_{kid}_{version}_{mac}`; the MAC may hold underscores.
fn split(key: &str) -> Option<(&str, i32, &str)> {
    let mut parts = key.strip_prefix("rf_")?.splitn(3, '_');
    let (kid, version, mac) = (parts.next()?, parts.next()?, parts.next()?);
    Some((kid, version.parse().ok()?, mac))
}

fn derive(master: &Master, subject: Subject, version: i32) -> Key {
    let (label, name) = subject.label_and_name();
    let version = version.to_string();
    let mac = mac(master, &[label, &name, &master.kid, &version]);
    // Without a MAC the key is empty and gives no access.
    Key(mac.map_or_else(String::new, |mac| format!("rf_{}_{version}_{}", master.kid, URL_SAFE_NO_PAD.encode(mac))))
}

/// HMAC-SHA256 over parts separated by a zero byte, which no part contains. HMAC accepts keys of any length, so the
/// result is never None.
fn mac(master: &Master, parts: &[&str]) -> Option<Vec<u8>> {
    let mac = Hmac::<Sha256>::new_from_slice(&master.secret).ok()?;
    Some(mac.chain_update(parts.join("\0").as_bytes()).finalize().into_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const B: &str = "b:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn masters(text: &str) -> MasterKeys {
        text.parse().ok().unwrap()
    }

    fn org(text: &str) -> Subject {
        Subject::Org(text.parse().unwrap())
    }

    fn acme() -> Subject {
        org("8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11")
    }

    #[test]
    fn a_key_opens_its_org_in_its_version_and_nothing_else() {
        let masters = masters(A);
        let key = masters.mint(acme(), 3);
        assert!(key.expose().starts_with("rf_a_3_"));
        assert_eq!(masters.verify(acme(), key.expose()), Some(3));
        assert_eq!(masters.verify(org("8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c12"), key.expose()), None);
        assert_eq!(masters.verify(Subject::Platform, key.expose()), None);
        assert_eq!(masters.verify(acme(), &key.expose().replace("_3_", "_4_")), None);
        assert_eq!(masters.verify(acme(), ""), None);
        assert_eq!(masters.verify(acme(), "rf_a_3_"), None);
    }

    #[test]
    fn masters_overlap_while_one_replaces_the_other() {
        let old = masters(A).mint(acme(), 1);
        let both = masters(&format!("{B},{A}"));
        assert_eq!(both.verify(acme(), old.expose()), Some(1));
        assert!(both.mint(acme(), 1).expose().starts_with("rf_b_1_"));
        assert_eq!(masters(B).verify(acme(), old.expose()), None);
    }

    #[test]
    fn master_keys_that_are_short_double_or_malformed_are_refused() {
        for text in ["", "a", "a:", "a:AAAA", "A:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", &format!("{A},{A}")] {
            assert!(text.parse::<MasterKeys>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_does_not_print_itself() {
        assert_eq!(format!("{:?}", masters(A).mint(acme(), 1)), "[redacted]");
    }
}
