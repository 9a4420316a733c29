//! Key rings: the derived keys that a function holds, in its environment variable `RINGFENCE_KEYS`.
//!
//! The text is `{kid}.{purpose}={base64url}`, separated by commas, at most two keys of a purpose, the newest first.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::endpoint_secrets::EndpointSecrets;
use crate::keys::{KeySet, Kid, Named, Subkey};
use crate::numbers::NumberHasher;
use crate::org_keys::{OrgKeyVerifier, PlatformKeyVerifier};
use crate::purpose::Purpose;
use crate::seal::{ApiKeySealer, DeliverySealer, LinkSealer, MessageSealer};
use crate::tokens::{ConsoleTokenVerifier, LiveTokens};

/// The key rings of the deployed functions. A ring has only the keys that its function needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    Webhook,
    /// `assistant-request` and `tool-calls`.
    Interactive,
    Live,
    Console,
    ConsoleCommands,
    RecordingUpload,
    Maintenance,
}

impl Ring {
    pub const ALL: [Self; 7] = [
        Self::Webhook,
        Self::Interactive,
        Self::Live,
        Self::Console,
        Self::ConsoleCommands,
        Self::RecordingUpload,
        Self::Maintenance,
    ];

    /// The attribute of the custom resource `Migration` that has the ring.
    #[must_use]
    pub const fn attribute(self) -> &'static str {
        match self {
            Self::Webhook => "WebhookKeys",
            Self::Interactive => "InteractiveKeys",
            Self::Live => "LiveKeys",
            Self::Console => "ConsoleKeys",
            Self::ConsoleCommands => "ConsoleCommandsKeys",
            Self::RecordingUpload => "RecordingUploadKeys",
            Self::Maintenance => "MaintenanceKeys",
        }
    }

    #[must_use]
    pub const fn purposes(self) -> &'static [Purpose] {
        use Purpose::{
            ApiKeys, ConsoleTokens, EndpointSecrets, LiveTokens, NumberTombstones, OrgKeys, PlatformKeys,
            QuarantinedMessages, RecordingLinks,
        };
        match self {
            Self::Webhook => {
                &[OrgKeys, PlatformKeys, RecordingLinks, EndpointSecrets, NumberTombstones, QuarantinedMessages]
            }
            Self::Interactive => &[OrgKeys, RecordingLinks, EndpointSecrets, NumberTombstones, QuarantinedMessages],
            Self::Live => &[LiveTokens],
            Self::Console => &[LiveTokens, ConsoleTokens],
            Self::ConsoleCommands => &[ConsoleTokens],
            Self::RecordingUpload => &[RecordingLinks, ApiKeys],
            Self::Maintenance => &[RecordingLinks, ApiKeys, NumberTombstones],
        }
    }
}

/// The keys that a function holds.
#[derive(Clone)]
pub struct KeyRing(BTreeMap<Purpose, KeySet<Subkey>>);

/// The text is not a key ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKeyRing;

/// A key ring does not have the key that a function needs. Names the purpose, never a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    #[error("has no key for the purpose {0}")]
    Missing(Purpose),
    #[error("has an unusable key for the purpose {0}")]
    Unusable(Purpose),
}

impl FromStr for KeyRing {
    type Err = InvalidKeyRing;

    fn from_str(text: &str) -> Result<Self, InvalidKeyRing> {
        let mut keys: BTreeMap<Purpose, Vec<Named<Subkey>>> = BTreeMap::new();
        for entry in text.split(',') {
            let (purpose, key) = parse_entry(entry.trim()).ok_or(InvalidKeyRing)?;
            keys.entry(purpose).or_default().push(key);
        }
        let sets = keys.into_iter().map(|(purpose, keys)| Some((purpose, KeySet::of(keys)?)));
        sets.collect::<Option<_>>().map(Self).ok_or(InvalidKeyRing)
    }
}

fn parse_entry(entry: &str) -> Option<(Purpose, Named<Subkey>)> {
    let (name, key) = entry.split_once('=')?;
    let (kid, purpose) = name.split_once('.')?;
    Some((purpose.parse().ok()?, Named { kid: Kid::parse(kid)?, key: Subkey::decode(key)? }))
}

impl KeyRing {
    pub(crate) const fn new(keys: BTreeMap<Purpose, KeySet<Subkey>>) -> Self {
        Self(keys)
    }

    /// The value of `RINGFENCE_KEYS`: a secret.
    #[must_use]
    pub fn expose(&self) -> String {
        let sets = self.0.iter().flat_map(|(purpose, keys)| keys.iter().map(move |named| (purpose, named)));
        let entries = sets.map(|(purpose, Named { kid, key })| format!("{kid}.{purpose}={}", key.encode()));
        entries.collect::<Vec<_>>().join(",")
    }

    pub fn purposes(&self) -> impl Iterator<Item = Purpose> {
        self.0.keys().copied()
    }

    pub fn org_key_verifier(&self) -> Result<OrgKeyVerifier, KeyRingError> {
        self.keys(Purpose::OrgKeys).map(OrgKeyVerifier::new)
    }

    pub fn platform_key_verifier(&self) -> Result<PlatformKeyVerifier, KeyRingError> {
        self.keys(Purpose::PlatformKeys).map(PlatformKeyVerifier::new)
    }

    /// For functions that receive events: it seals their links and hashes their numbers.
    pub fn delivery_sealer(&self) -> Result<DeliverySealer, KeyRingError> {
        Ok(DeliverySealer::new(self.link_sealer()?, self.number_hasher()?))
    }

    pub fn link_sealer(&self) -> Result<LinkSealer, KeyRingError> {
        self.keys(Purpose::RecordingLinks).map(LinkSealer::new)
    }

    pub fn api_key_sealer(&self) -> Result<ApiKeySealer, KeyRingError> {
        self.keys(Purpose::ApiKeys).map(ApiKeySealer::new)
    }

    pub fn endpoint_secrets(&self) -> Result<EndpointSecrets, KeyRingError> {
        self.keys(Purpose::EndpointSecrets).map(EndpointSecrets::new)
    }

    pub fn number_hasher(&self) -> Result<NumberHasher, KeyRingError> {
        self.keys(Purpose::NumberTombstones).map(NumberHasher::new)
    }

    /// For functions that receive messages of unknown types.
    pub fn message_sealer(&self) -> Result<MessageSealer, KeyRingError> {
        Ok(MessageSealer::new(self.keys(Purpose::QuarantinedMessages)?, self.number_hasher()?))
    }

    pub fn live_tokens(&self) -> Result<LiveTokens, KeyRingError> {
        self.keys(Purpose::LiveTokens).map(LiveTokens::new)
    }

    pub fn console_token_verifier(&self) -> Result<ConsoleTokenVerifier, KeyRingError> {
        let unusable = |_| KeyRingError::Unusable(Purpose::ConsoleTokens);
        ConsoleTokenVerifier::new(&self.keys(Purpose::ConsoleTokens)?).map_err(unusable)
    }

    fn keys(&self, purpose: Purpose) -> Result<KeySet<Subkey>, KeyRingError> {
        self.0.get(&purpose).cloned().ok_or(KeyRingError::Missing(purpose))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::masters::tests::{A, B, masters, ring};

    #[test]
    fn a_ring_has_the_keys_of_its_purposes_and_no_others() {
        let ring = masters(A).key_ring(Ring::Live.purposes()).unwrap();
        assert_eq!(ring.purposes().collect::<Vec<_>>(), [Purpose::LiveTokens]);
        assert!(ring.live_tokens().is_ok());
        let missing = [
            ring.org_key_verifier().err(),
            ring.platform_key_verifier().err(),
            ring.delivery_sealer().err(),
            ring.link_sealer().err(),
            ring.api_key_sealer().err(),
            ring.endpoint_secrets().err(),
            ring.number_hasher().err(),
            ring.message_sealer().err(),
            ring.console_token_verifier().err(),
        ];
        let messages: Vec<_> = missing.into_iter().map(|error| error.unwrap().to_string()).collect();
        assert_eq!(messages[0], "has no key for the purpose org");
        assert!(messages.iter().all(|message| message.starts_with("has no key for the purpose ")), "{messages:?}");
    }

    #[test]
    fn the_text_names_each_key_with_the_newest_first() {
        let ring = masters(&format!("{B},{A}")).key_ring(Ring::Console.purposes()).unwrap();
        let text = ring.expose();
        let names: Vec<_> = text.split(',').map(|entry| entry.split_once('=').unwrap().0).collect();
        assert_eq!(names, ["b.live", "a.live", "b.console", "a.console"]);
        assert!(text.split(',').all(|entry| entry.split_once('=').unwrap().1.len() == 43));
    }

    /// The Ed25519 seed stays with the master key.
    #[test]
    fn a_ring_has_the_public_key_of_console_tokens() {
        let kid = Kid::parse("a").unwrap();
        let seed = Subkey::derive(&[0; 32], Purpose::ConsoleTokens, &kid).encode();
        let text = ring(A).expose();
        assert!(!text.contains(&seed));
        assert!(text.contains(&Subkey::derive(&[0; 32], Purpose::LiveTokens, &kid).encode()));
    }

    #[test]
    fn texts_that_are_not_key_rings_are_refused() {
        let (key, other) = ("A".repeat(43), format!("B{}", "A".repeat(42)));
        for text in [
            String::new(),
            "a.org".to_owned(),
            format!("a={key}"),
            format!("a.orgs={key}"),
            format!("A.org={key}"),
            format!("a.org={key}="),
            format!("a.org={}", &key[1..]),
            format!("a.org={key},"),
            format!("a.org={key},a.org={other}"),
            format!("a.org={key},b.org={key},c.org={key}"),
        ] {
            assert!(text.parse::<KeyRing>().is_err(), "{text}");
        }
        assert!(format!("a.org={key},b.org={key}, a.live={key}").parse::<KeyRing>().is_ok());
    }

    proptest! {
        #[test]
        fn a_ring_round_trips(
            masters in prop::collection::vec(any::<[u8; 32]>(), 1..=2),
            purposes in prop::sample::subsequence(Purpose::ALL.to_vec(), 1..=Purpose::ALL.len()),
        ) {
            use base64::Engine as _;
            use base64::engine::general_purpose::STANDARD;
            let masters = masters.iter().zip(["new", "old"]).map(|(key, kid)| format!("{kid}:{}", STANDARD.encode(key)));
            let masters: crate::MasterKeys = masters.collect::<Vec<_>>().join(",").parse().ok().unwrap();
            let ring = masters.key_ring(&purposes).unwrap();
            let read: KeyRing = ring.expose().parse().ok().unwrap();
            prop_assert_eq!(read.expose(), ring.expose());
            prop_assert_eq!(read.purposes().collect::<Vec<_>>(), purposes);
        }

        #[test]
        fn no_text_panics(text in "([a-z0-9.=,A-Z_-]|org|live){0,120}") {
            let _ = text.parse::<KeyRing>();
        }
    }
}
