//! Sealed secrets that wait in a queue or in a row: links to recordings, the orgs' API keys at Vapi, and messages of
//! unknown types.
//!
//! The cipher is AES-256-GCM (NIST SP 800-38D) of OpenSSL, which the database connection links anyway. A sealed text
//! is `{kid}.{base64url}` of a random nonce of 12 bytes, the ciphertext and a tag of 16 bytes. The tag also
//! authenticates the secret's record, so that the text cannot be opened for another record.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use openssl::rand::rand_bytes;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use ringfence_protocol::{Credential, Delivery, SealedLink};
use ringfence_vapi::{CallFacts, OrgId, RecordingKind, RecordingLink, StoredEvent, UnknownMessage, VapiCallId};

use crate::authenticate::Verified;
use crate::keys::{KeySet, Subkey};
use crate::numbers::NumberHasher;

const NONCE: usize = 12;
const TAG: usize = 16;
/// A cursor grants nothing: the org is that of the connection, so the cursor is bound to none.
const ABOUT_CURSOR: &str = "live-cursor";

/// A secret cannot be sealed: OpenSSL has no random numbers, or no such cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret cannot be sealed")]
pub struct Unsealable;

/// Makes deliveries of stored events: seals their links and hashes their number.
#[derive(Clone)]
pub struct DeliverySealer {
    links: LinkSealer,
    numbers: NumberHasher,
}

impl DeliverySealer {
    pub(crate) const fn new(links: LinkSealer, numbers: NumberHasher) -> Self {
        Self { links, numbers }
    }

    /// The delivery of an event whose sender was verified.
    #[must_use]
    pub fn delivery(&self, verified: &Verified<'_>, stored: StoredEvent) -> Delivery {
        self.delivery_of(verified.credential(), verified.received_at(), stored)
    }

    /// The delivery of an event under a credential, with its links sealed and with the hashes of its number, which an
    /// erasure uses to find it. A link that cannot be sealed is left out: the recording is also available from Vapi's
    /// API.
    #[must_use]
    pub fn delivery_of(&self, credential: Credential, received_at: Timestamp, mut stored: StoredEvent) -> Delivery {
        self.hash_number(stored.event.call_mut());
        let call = &stored.event.call().id;
        let links = stored.links.iter().filter_map(|link| {
            let sealed = self.links.seal(credential.org(), call, link);
            sealed.inspect_err(|error| tracing::error!(call.id = %call, %error, "a link is left out")).ok()
        });
        let links = links.collect();
        let mut delivery = Delivery::new(credential, stored, received_at);
        delivery.links = links;
        delivery
    }

    /// Adds the hashes of the customer's number, by which a tombstone applies.
    fn hash_number(&self, call: &mut CallFacts) {
        if let Some(number) = &call.customer_number {
            call.number_tombstones = self.numbers.hashes(number.expose());
        }
    }
}

/// Seals and opens links to recordings. The newest key seals; all keys open.
#[derive(Clone)]
pub struct LinkSealer(KeySet<Subkey>);

impl LinkSealer {
    pub(crate) const fn new(keys: KeySet<Subkey>) -> Self {
        Self(keys)
    }

    /// Seals a link to a recording of a call. `org` is None at the platform URL, where it is not yet known.
    pub fn seal(&self, org: Option<OrgId>, call: &VapiCallId, link: &RecordingLink) -> Result<SealedLink, Unsealable> {
        let sealed = seal(&self.0, &about_link(org, call, link.kind), link.url.expose())?;
        Ok(SealedLink { kind: link.kind, link: sealed, expires_at: link.expires_at })
    }

    /// The link to a recording of an org's call. None: it was sealed with another master key, or belongs to another
    /// recording.
    #[must_use]
    pub fn open(&self, org: OrgId, call: &VapiCallId, kind: RecordingKind, sealed: &str) -> Option<String> {
        let senders = [Some(org), None];
        senders.iter().find_map(|sender| open(&self.0, &about_link(*sender, call, kind), sealed))
    }
}

/// Seals and opens the orgs' API keys at Vapi. The newest key seals; all keys open.
#[derive(Clone)]
pub struct ApiKeySealer(KeySet<Subkey>);

impl ApiKeySealer {
    pub(crate) const fn new(keys: KeySet<Subkey>) -> Self {
        Self(keys)
    }

    pub fn seal(&self, org: OrgId, key: &str) -> Result<String, Unsealable> {
        seal(&self.0, &about_api_key(org), key)
    }

    /// The API key of an org. None: it was sealed with another master key, or belongs to another org.
    #[must_use]
    pub fn open(&self, org: OrgId, sealed: &str) -> Option<String> {
        open(&self.0, &about_api_key(org), sealed)
    }
}

/// Seals and opens cursors of live viewers, which clients keep and cannot read. The newest key seals; all keys open.
#[derive(Clone)]
pub struct CursorSealer(KeySet<Subkey>);

impl CursorSealer {
    pub(crate) const fn new(keys: KeySet<Subkey>) -> Self {
        Self(keys)
    }

    pub fn seal(&self, cursor: &str) -> Result<String, Unsealable> {
        seal(&self.0, ABOUT_CURSOR, cursor)
    }

    /// None: it was sealed with another master key, or was not sealed by this.
    #[must_use]
    pub fn open(&self, sealed: &str) -> Option<String> {
        open(&self.0, ABOUT_CURSOR, sealed)
    }
}

/// Seals and opens messages of unknown types, with a key of each org. The newest key seals; all keys open.
#[derive(Clone)]
pub struct MessageSealer {
    keys: KeySet<Subkey>,
    numbers: NumberHasher,
}

impl MessageSealer {
    pub(crate) const fn new(keys: KeySet<Subkey>, numbers: NumberHasher) -> Self {
        Self { keys, numbers }
    }

    /// Adds the keyed hashes of the message's number, which an erasure uses to find it.
    pub fn mark(&self, message: &mut UnknownMessage) {
        if let Some(number) = &message.conversation.customer_number {
            message.conversation.number_tombstones = self.numbers.hashes(number.expose());
        }
    }

    /// Seals the body of a message. `id` identifies the message in the org.
    pub fn seal(&self, org: OrgId, id: &str, body: &str) -> Result<String, Unsealable> {
        seal(&self.of_org(org), &about_message(org, id), body)
    }

    /// The body of a message. None: it was sealed with another master key, or is another message's.
    #[must_use]
    pub fn open(&self, org: OrgId, id: &str, sealed: &str) -> Option<String> {
        open(&self.of_org(org), &about_message(org, id), sealed)
    }

    fn of_org(&self, org: OrgId) -> KeySet<Subkey> {
        self.keys.map(|named| named.key.of_org(org))
    }
}

fn seal(keys: &KeySet<Subkey>, about: &str, secret: &str) -> Result<String, Unsealable> {
    let (mut nonce, mut tag) = ([0; NONCE], [0; TAG]);
    rand_bytes(&mut nonce).map_err(|_| Unsealable)?;
    let (key, about, secret) = (keys.newest.key.bytes(), about.as_bytes(), secret.as_bytes());
    let ciphertext = encrypt_aead(Cipher::aes_256_gcm(), key, Some(&nonce), about, secret, &mut tag);
    let ciphertext = ciphertext.map_err(|_| Unsealable)?;
    Ok(format!("{}.{}", keys.newest.kid, URL_SAFE_NO_PAD.encode([&nonce[..], &ciphertext, &tag].concat())))
}

fn open(keys: &KeySet<Subkey>, about: &str, sealed: &str) -> Option<String> {
    let (kid, sealed) = sealed.split_once('.')?;
    let key = keys.find(kid)?.key.bytes();
    let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
    let (nonce, rest) = sealed.split_at_checked(NONCE)?;
    let (ciphertext, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
    let opened = decrypt_aead(Cipher::aes_256_gcm(), key, Some(nonce), about.as_bytes(), ciphertext, tag);
    String::from_utf8(opened.ok()?).ok()
}

fn about_link(org: Option<OrgId>, call: &VapiCallId, kind: RecordingKind) -> String {
    let sender = org.map_or_else(|| "platform".to_owned(), |org| org.to_string());
    format!("recording-link\0{sender}\0{call}\0{kind}")
}

fn about_api_key(org: OrgId) -> String {
    format!("vapi-api-key\0{org}")
}

fn about_message(org: OrgId, id: &str) -> String {
    format!("message\0{org}\0{id}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::masters::tests::{A, B, masters, ring};

    fn sealer(master: &str) -> ApiKeySealer {
        masters(master).api_key_sealer()
    }

    fn org(last: u8) -> OrgId {
        format!("8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c{last:02}").parse().unwrap()
    }

    #[test]
    fn a_sealed_secret_opens_for_its_record_only() {
        let api_keys = sealer(A);
        let sealed = api_keys.seal(org(1), "private").unwrap();
        assert!(!sealed.contains("private"));
        assert_eq!(api_keys.open(org(1), &sealed).as_deref(), Some("private"));
        assert_eq!(api_keys.open(org(2), &sealed), None);
        assert_ne!(api_keys.seal(org(1), "private").unwrap(), sealed, "each has a nonce of its own");

        let links = ring(A).link_sealer().unwrap();
        let (call, other) = ("c1".parse().unwrap(), "c2".parse().unwrap());
        let url = "https://storage.example/a?X-Amz-Signature=1";
        let link = RecordingLink { kind: RecordingKind::Mono, url: url.to_owned().into(), expires_at: None };
        let sealed = links.seal(Some(org(1)), &call, &link).unwrap().link;
        assert_eq!(links.open(org(1), &call, RecordingKind::Mono, &sealed).as_deref(), Some(url));
        assert_eq!(links.open(org(2), &call, RecordingKind::Mono, &sealed), None);
        assert_eq!(links.open(org(1), &call, RecordingKind::Stereo, &sealed), None);
        assert_eq!(links.open(org(1), &other, RecordingKind::Mono, &sealed), None);
        // At the platform URL the org is not known, so the link is bound to call and kind only.
        let sealed = links.seal(None, &call, &link).unwrap().link;
        assert_eq!(links.open(org(1), &call, RecordingKind::Mono, &sealed).as_deref(), Some(url));
        assert_eq!(links.open(org(1), &other, RecordingKind::Mono, &sealed), None);
    }

    /// E5.
    #[test]
    fn a_sealed_message_opens_for_its_org_and_id_only() {
        let messages = masters(A).message_sealer();
        let sealed = messages.seal(org(1), "id", "body").unwrap();
        assert_eq!(ring(A).message_sealer().unwrap().open(org(1), "id", &sealed).as_deref(), Some("body"));
        assert_eq!(messages.open(org(2), "id", &sealed), None);
        assert_eq!(messages.open(org(1), "other", &sealed), None);
        assert_eq!(masters(&format!("{B},{A}")).message_sealer().open(org(1), "id", &sealed).as_deref(), Some("body"));
    }

    /// D3: two cursors of one position differ, and none shows the position.
    #[test]
    fn a_cursor_is_opaque() {
        let cursors = masters(A).live_tokens().cursor_sealer();
        let (one, other) =
            (cursors.seal("00000000000000000741").unwrap(), cursors.seal("00000000000000000741").unwrap());
        assert!(one != other && one.len() == other.len() && !one.contains("741"));
        assert_eq!(cursors.open(&one).as_deref(), Some("00000000000000000741"));
        assert_eq!(masters(B).live_tokens().cursor_sealer().open(&one), None);
        assert_eq!(cursors.open("00000000000000000741"), None);
    }

    #[test]
    fn the_key_of_links_opens_no_api_key() {
        let sealed = sealer(A).seal(org(1), "private").unwrap();
        let links = ApiKeySealer(ring(A).link_sealer().unwrap().0);
        assert_eq!(links.open(org(1), &sealed), None);
    }

    #[test]
    fn secrets_of_two_masters_open_while_one_replaces_the_other() {
        let sealed = sealer(A).seal(org(1), "private").unwrap();
        let both = sealer(&format!("{B},{A}"));
        assert_eq!(both.open(org(1), &sealed).as_deref(), Some("private"));
        assert!(both.seal(org(1), "private").unwrap().starts_with("b."));
        assert_eq!(sealer(B).open(org(1), &sealed), None);
    }

    #[test]
    fn an_altered_text_does_not_open() {
        let api_keys = sealer(A);
        let sealed = api_keys.seal(org(1), "private").unwrap();
        for text in ["", "a.", "a.AAAA", "?", &sealed[..sealed.len() - 2], &sealed.replacen("a.", "b.", 1)] {
            assert_eq!(api_keys.open(org(1), text), None, "{text}");
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(&sealed[2..]).unwrap();
        for index in 0..bytes.len() {
            bytes[index] ^= 1;
            assert_eq!(api_keys.open(org(1), &format!("a.{}", URL_SAFE_NO_PAD.encode(&bytes))), None, "{index}");
            bytes[index] ^= 1;
        }
    }

    proptest! {
        #[test]
        fn any_text_opens_as_it_was_sealed(secret in ".{0,200}", last in 1..99_u8) {
            let sealed = sealer(A).seal(org(last), &secret).unwrap();
            prop_assert_eq!(sealer(&format!("{B},{A}")).open(org(last), &sealed), Some(secret));
        }
    }
}
