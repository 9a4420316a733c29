//! Sealing of secrets that are stored in a queue or a row, so that only holders of a master key can read them.
//!
//! AES-256-GCM (NIST SP 800-38D) by OpenSSL, which the database connection has linked anyway. A sealed value is
//! `{kid}.{base64url}` of a random nonce of 12 bytes, the ciphertext and a tag of 16 bytes. The record that the secret
//! belongs to is authenticated with it, so that the value cannot be opened for another record.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use openssl::rand::rand_bytes;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use ringfence_protocol::{Credential, Delivery, SealedLink};
use ringfence_vapi::{OrgId, RecordingKind, RecordingLink, StoredEvent, VapiCallId};

use crate::authenticate::Verified;
use crate::keys::MasterKeys;

const NONCE: usize = 12;
const TAG: usize = 16;

/// A secret cannot be sealed, because OpenSSL has no random numbers or no such cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret cannot be sealed")]
pub struct Unsealable;

/// Seals and opens secrets. The key of the first master key seals; the keys of all open.
#[derive(Clone)]
pub struct Sealer {
    keys: Vec<(String, Vec<u8>)>,
    masters: MasterKeys,
}

impl Sealer {
    #[must_use]
    pub fn new(masters: &MasterKeys) -> Self {
        Self { keys: masters.sealing_keys().collect(), masters: masters.clone() }
    }

    /// The delivery of a verified stored event.
    #[must_use]
    pub fn delivery(&self, verified: &Verified<'_>, stored: StoredEvent) -> Delivery {
        self.delivery_of(verified.credential(), verified.received_at(), stored)
    }

    /// The delivery of a stored event with any credential. Its links are sealed, and it has the hashes of its number,
    /// by which an erasure finds it. A link that cannot be sealed is left out, because Vapi's API also has the
    /// recording.
    #[must_use]
    pub fn delivery_of(&self, credential: Credential, received_at: Timestamp, mut stored: StoredEvent) -> Delivery {
        let call = stored.event.call_mut();
        if let Some(number) = &call.customer_number {
            call.number_tombstones = self.masters.number_tombstones(number.expose());
        }
        let call = &stored.event.call().id;
        let links = stored.links.iter().filter_map(|link| {
            let sealed = self.seal_link(call, link);
            sealed.inspect_err(|error| tracing::error!(call.id = %call, %error, "a link is not kept")).ok()
        });
        let links = links.collect();
        let mut delivery = Delivery::new(credential, stored, received_at);
        delivery.links = links;
        delivery
    }

    /// Seals a link to a recording of a call. The link is bound to the call and not to the org, because the org is
    /// unknown at the platform URL.
    pub fn seal_link(&self, call: &VapiCallId, link: &RecordingLink) -> Result<SealedLink, Unsealable> {
        let sealed = self.seal(&about_link(call, link.kind), link.url.expose())?;
        Ok(SealedLink { kind: link.kind, link: sealed, expires_at: link.expires_at })
    }

    /// Opens the link to a recording of a call. None: another master key sealed it, or it belongs to another call.
    #[must_use]
    pub fn open_link(&self, call: &VapiCallId, kind: RecordingKind, sealed: &str) -> Option<String> {
        self.open(&about_link(call, kind), sealed)
    }

    /// Seals an org's API key at Vapi.
    pub fn seal_api_key(&self, org: OrgId, key: &str) -> Result<String, Unsealable> {
        self.seal(&about_api_key(org), key)
    }

    /// Opens an org's API key. None: another master key sealed it, or it belongs to another org.
    #[must_use]
    pub fn open_api_key(&self, org: OrgId, sealed: &str) -> Option<String> {
        self.open(&about_api_key(org), sealed)
    }

    fn seal(&self, about: &str, secret: &str) -> Result<String, Unsealable> {
        let (kid, key) = self.keys.first().ok_or(Unsealable)?;
        let (mut nonce, mut tag) = ([0; NONCE], [0; TAG]);
        rand_bytes(&mut nonce).map_err(|_| Unsealable)?;
        let (about, secret) = (about.as_bytes(), secret.as_bytes());
        let ciphertext = encrypt_aead(Cipher::aes_256_gcm(), key, Some(&nonce), about, secret, &mut tag);
        let ciphertext = ciphertext.map_err(|_| Unsealable)?;
        Ok(format!("{kid}.{}", URL_SAFE_NO_PAD.encode([&nonce[..], &ciphertext, &tag].concat())))
    }

    fn open(&self, about: &str, sealed: &str) -> Option<String> {
        let (kid, sealed) = sealed.split_once('.')?;
        let (_, key) = self.keys.iter().find(|(named, _)| named == kid)?;
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, rest) = sealed.split_at_checked(NONCE)?;
        let (ciphertext, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
        let opened = decrypt_aead(Cipher::aes_256_gcm(), key, Some(nonce), about.as_bytes(), ciphertext, tag);
        String::from_utf8(opened.ok()?).ok()
    }
}

fn about_link(call: &VapiCallId, kind: RecordingKind) -> String {
    format!("recording-link\0{call}\0{kind}")
}

fn about_api_key(org: OrgId) -> String {
    format!("vapi-api-key\0{org}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const B: &str = "b:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn sealer(masters: &str) -> Sealer {
        Sealer::new(&masters.parse().ok().unwrap())
    }

    fn org(last: u8) -> OrgId {
        format!("8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c{last:02}").parse().unwrap()
    }

    #[test]
    fn what_was_sealed_opens_in_its_place_only() {
        let keeper = sealer(A);
        let sealed = keeper.seal_api_key(org(1), "private").unwrap();
        assert!(!sealed.contains("private"));
        assert_eq!(keeper.open_api_key(org(1), &sealed).as_deref(), Some("private"));
        assert_eq!(keeper.open_api_key(org(2), &sealed), None);
        assert_ne!(keeper.seal_api_key(org(1), "private").unwrap(), sealed, "each has a nonce of its own");

        let (call, other) = ("c1".parse().unwrap(), "c2".parse().unwrap());
        let url = "https://storage.example/a?X-Amz-Signature=1";
        let link = RecordingLink { kind: RecordingKind::Mono, url: url.to_owned().into(), expires_at: None };
        let sealed = keeper.seal_link(&call, &link).unwrap().link;
        assert_eq!(keeper.open_link(&call, RecordingKind::Mono, &sealed).as_deref(), Some(url));
        assert_eq!(keeper.open_link(&call, RecordingKind::Stereo, &sealed), None);
        assert_eq!(keeper.open_link(&other, RecordingKind::Mono, &sealed), None);
    }

    #[test]
    fn masters_overlap_while_one_replaces_the_other() {
        let sealed = sealer(A).seal_api_key(org(1), "private").unwrap();
        assert_eq!(sealer(&format!("{B},{A}")).open_api_key(org(1), &sealed).as_deref(), Some("private"));
        assert_eq!(sealer(B).open_api_key(org(1), &sealed), None);
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let keeper = sealer(A);
        let sealed = keeper.seal_api_key(org(1), "private").unwrap();
        for text in ["", "a.", "a.AAAA", "?", &sealed[..sealed.len() - 2], &sealed.replacen("a.", "b.", 1)] {
            assert_eq!(keeper.open_api_key(org(1), text), None, "{text}");
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(&sealed[2..]).unwrap();
        for index in 0..bytes.len() {
            bytes[index] ^= 1;
            assert_eq!(keeper.open_api_key(org(1), &format!("a.{}", URL_SAFE_NO_PAD.encode(&bytes))), None, "{index}");
            bytes[index] ^= 1;
        }
    }
}
