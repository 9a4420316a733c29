//! Key material: names of master keys, derived keys, and the one or two keys of a purpose.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::digest::Key as Block;
use hmac::{Hmac, Mac as _};
use openssl::error::ErrorStack;
use ringfence_vapi::OrgId;
use sha2::{Digest as _, Sha256};

use crate::purpose::Purpose;

/// The output of HMAC-SHA256, and the length of an AES-256 key and of an Ed25519 seed or public key.
pub(crate) const KEY_LENGTH: usize = 32;

/// OpenSSL cannot compute with an Ed25519 key.
#[derive(Debug, thiserror::Error)]
#[error("OpenSSL cannot use an Ed25519 key")]
pub struct CryptoError(#[from] ErrorStack);

/// The name of a master key: 1 to 8 lower-case letters or digits. Each key that is derived from the master key has the
/// same name.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Kid(String);

impl Kid {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_kid = (1..=8).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        is_kid.then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key that is derived from a master key, or the public key to it. It has no `Debug`, so that no log prints it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Subkey([u8; KEY_LENGTH]);

impl Subkey {
    /// `HMAC-SHA256(master, "ringfence/{purpose}" 0 kid)`.
    pub(crate) fn derive(master: &[u8], purpose: Purpose, kid: &Kid) -> Self {
        Self(hmac_sha256(master, format!("ringfence/{purpose}\0{kid}").as_bytes()))
    }

    pub(crate) const fn new(bytes: [u8; KEY_LENGTH]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }

    pub(crate) fn mac(&self, message: &str) -> [u8; KEY_LENGTH] {
        hmac_sha256(&self.0, message.as_bytes())
    }

    /// A key of one org: `HMAC-SHA256(key, org)`.
    pub(crate) fn of_org(&self, org: OrgId) -> Self {
        Self(self.mac(&org.to_string()))
    }

    pub(crate) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

/// HMAC takes a key of any length: it pads a short one to the length of a block, and hashes a longer one (RFC 2104,
/// section 2).
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; KEY_LENGTH] {
    let mut block = Block::<Hmac<Sha256>>::default();
    match block.get_mut(..key.len()) {
        Some(start) => start.copy_from_slice(key),
        None => block[..KEY_LENGTH].copy_from_slice(&Sha256::digest(key)),
    }
    Hmac::<Sha256>::new(&block).chain_update(message).finalize().into_bytes().into()
}

/// A key with the name of its master key.
#[derive(Clone)]
pub(crate) struct Named<K> {
    pub(crate) kid: Kid,
    pub(crate) key: K,
}

/// The keys of one purpose. There are two while one master key replaces another. The newest key creates new values;
/// both are accepted.
#[derive(Clone)]
pub(crate) struct KeySet<K> {
    pub(crate) newest: Named<K>,
    older: Option<Named<K>>,
}

impl<K> KeySet<K> {
    /// The newest key first. None: there is no key, there are more than two, or two have the same name.
    pub(crate) fn of(keys: impl IntoIterator<Item = Named<K>>) -> Option<Self> {
        let mut keys = keys.into_iter();
        let (newest, older) = (keys.next()?, keys.next());
        let is_ambiguous = older.as_ref().is_some_and(|older| older.kid == newest.kid);
        (!is_ambiguous && keys.next().is_none()).then_some(Self { newest, older })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Named<K>> {
        [&self.newest].into_iter().chain(&self.older)
    }

    pub(crate) fn find(&self, kid: &str) -> Option<&Named<K>> {
        self.iter().find(|named| named.kid.as_str() == kid)
    }

    pub(crate) fn try_map<T, E>(&self, change: impl Fn(&Named<K>) -> Result<T, E>) -> Result<KeySet<T>, E> {
        let named = |from: &Named<K>| Ok(Named { kid: from.kid.clone(), key: change(from)? });
        Ok(KeySet { newest: named(&self.newest)?, older: self.older.as_ref().map(named).transpose()? })
    }

    pub(crate) fn map<T>(&self, change: impl Fn(&Named<K>) -> T) -> KeySet<T> {
        let named = |from: &Named<K>| Named { kid: from.kid.clone(), key: change(from) };
        KeySet { newest: named(&self.newest), older: self.older.as_ref().map(named) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test cases 1 and 6: a key shorter and a key longer than a block.
    #[test]
    fn hmac_agrees_with_the_specification() {
        let short = hmac_sha256(&[0x0b; 20], b"Hi There");
        assert_eq!(hex::encode(short), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        let long = hmac_sha256(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex::encode(long), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn a_set_has_one_or_two_keys_of_different_names() {
        let set = |kids: &[&str]| KeySet::of(kids.iter().map(|kid| Named { kid: Kid::parse(kid).unwrap(), key: () }));
        assert!(set(&["a"]).is_some() && set(&["a", "b"]).is_some());
        for kids in [&[][..], &["a", "a"], &["a", "b", "c"]] {
            assert!(set(kids).is_none(), "{kids:?}");
        }
    }

    #[test]
    fn purposes_and_names_separate_derived_keys() {
        let kid = |text| Kid::parse(text).unwrap();
        let keys: Vec<_> = Purpose::ALL
            .into_iter()
            .flat_map(|purpose| ["a", "b"].map(|name| Subkey::derive(&[0; 32], purpose, &kid(name)).encode()))
            .collect();
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }
}
