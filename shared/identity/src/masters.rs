//! Master keys, from which all other keys are derived. Only the function `admin`, the local stack and tests have them.

use std::collections::BTreeMap;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::endpoint_secrets::EndpointSecrets;
use crate::keys::{CryptoError, KeySet, Kid, Named, Subkey};
use crate::numbers::NumberHasher;
use crate::org_keys::{DerivedKeys, Key, Subject};
use crate::purpose::Purpose;
use crate::ring::KeyRing;
use crate::seal::{ApiKeySealer, DeliverySealer, LinkSealer, MessageSealer};
use crate::tokens::{ConsoleTokenMinter, LiveTokens, console};

/// The shortest master key in bytes: as long as the MAC's own output.
const MIN_MASTER_LENGTH: usize = 32;

/// One master key, or two while one replaces the other. The first mints and seals; keys of both are accepted.
#[derive(Clone)]
pub struct MasterKeys(KeySet<Vec<u8>>);

/// The text is not `kid:base64[,kid:base64]` with 32 bytes or more each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidMasterKeys;

impl FromStr for MasterKeys {
    type Err = InvalidMasterKeys;

    fn from_str(text: &str) -> Result<Self, InvalidMasterKeys> {
        let masters = text.split(',').map(parse_master).collect::<Option<Vec<_>>>();
        masters.and_then(KeySet::of).map(Self).ok_or(InvalidMasterKeys)
    }
}

fn parse_master(text: &str) -> Option<Named<Vec<u8>>> {
    let (kid, secret) = text.trim().split_once(':')?;
    let key = STANDARD.decode(secret).ok()?;
    (key.len() >= MIN_MASTER_LENGTH).then_some(Named { kid: Kid::parse(kid)?, key })
}

impl MasterKeys {
    /// The keys of these purposes, for a function that must not have the master keys.
    pub fn key_ring(&self, purposes: &[Purpose]) -> Result<KeyRing, CryptoError> {
        let keys = |purpose: &Purpose| {
            let derived = self.derive(*purpose);
            let keys = match purpose {
                Purpose::ConsoleTokens => derived.try_map(|seed| console::public_key(&seed.key))?,
                _ => derived,
            };
            Ok((*purpose, keys))
        };
        Ok(KeyRing::new(purposes.iter().map(keys).collect::<Result<BTreeMap<_, _>, CryptoError>>()?))
    }

    /// The key of a version, made with the first master key.
    #[must_use]
    pub fn mint(&self, subject: Subject, version: i32) -> Key {
        let keys = self.derive(subject.purpose());
        DerivedKeys::new(&keys, subject).newest(version)
    }

    /// Signs console tokens, also those of operators.
    pub fn console_token_minter(&self) -> Result<ConsoleTokenMinter, CryptoError> {
        ConsoleTokenMinter::new(&self.derive(Purpose::ConsoleTokens).newest)
    }

    #[must_use]
    pub fn live_tokens(&self) -> LiveTokens {
        LiveTokens::new(self.derive(Purpose::LiveTokens))
    }

    #[must_use]
    pub fn api_key_sealer(&self) -> ApiKeySealer {
        ApiKeySealer::new(self.derive(Purpose::ApiKeys))
    }

    #[must_use]
    pub fn endpoint_secrets(&self) -> EndpointSecrets {
        EndpointSecrets::new(self.derive(Purpose::EndpointSecrets))
    }

    #[must_use]
    pub fn number_hasher(&self) -> NumberHasher {
        NumberHasher::new(self.derive(Purpose::NumberTombstones))
    }

    /// Opens messages of unknown types.
    #[must_use]
    pub fn message_sealer(&self) -> MessageSealer {
        MessageSealer::new(self.derive(Purpose::QuarantinedMessages), self.number_hasher())
    }

    /// For events that are read from quarantined messages.
    #[must_use]
    pub fn delivery_sealer(&self) -> DeliverySealer {
        DeliverySealer::new(LinkSealer::new(self.derive(Purpose::RecordingLinks)), self.number_hasher())
    }

    fn derive(&self, purpose: Purpose) -> KeySet<Subkey> {
        self.0.map(|master| Subkey::derive(&master.key, purpose, &master.kid))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const A: &str = "a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    pub(crate) const B: &str = "b:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    pub(crate) fn masters(text: &str) -> MasterKeys {
        text.parse().ok().unwrap()
    }

    /// The keys of all purposes.
    pub(crate) fn ring(text: &str) -> KeyRing {
        masters(text).key_ring(&Purpose::ALL).unwrap()
    }

    #[test]
    fn master_keys_that_are_short_double_or_malformed_are_refused() {
        let three = format!("{A},{B},{}", A.replacen('a', "c", 1));
        for text in
            ["", "a", "a:", "a:AAAA", "A:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", &format!("{A},{A}"), &three]
        {
            assert!(text.parse::<MasterKeys>().is_err(), "{text}");
        }
    }
}
