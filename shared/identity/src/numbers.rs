//! Keyed hashes of phone numbers and SIP URIs. They replace a number where the number itself must not be stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ringfence_vapi::contact_identifiers;

use crate::keys::{KeySet, Named, Subkey};

/// The length to which a hash is cut, in bytes: enough that no two numbers have the same hash.
const HASH_LENGTH: usize = 16;

/// Hashes phone numbers. Without the key, a hash cannot be reversed by trying all numbers.
#[derive(Clone)]
pub struct NumberHasher(KeySet<Subkey>);

impl NumberHasher {
    pub(crate) const fn new(keys: KeySet<Subkey>) -> Self {
        Self(keys)
    }

    /// `{kid}.{base64url}`: for each master key, a hash of each identifier of the number ([`contact_identifiers`]).
    #[must_use]
    pub fn hashes(&self, number: &str) -> Vec<String> {
        let identifiers = contact_identifiers(number);
        let hash = |named: &Named<Subkey>, identifier: &str| {
            format!("{}.{}", named.kid, URL_SAFE_NO_PAD.encode(&named.key.mac(identifier)[..HASH_LENGTH]))
        };
        self.0.iter().flat_map(|named| identifiers.iter().map(move |identifier| hash(named, identifier))).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::masters::tests::{A, B, masters};

    #[test]
    fn a_number_has_a_hash_per_master_key_and_does_not_appear_in_it() {
        let old = masters(A).number_hasher().hashes("+15555550142");
        let both = masters(&format!("{B},{A}")).number_hasher().hashes("+15555550142");
        assert_eq!((old.len(), both.len(), &both[1]), (1, 2, &old[0]));
        assert!(both[0].starts_with("b.") && !both[0].contains("555"));
        assert_ne!(masters(A).number_hasher().hashes("+15555550143"), old);
    }

    /// E3: a tombstone applies to each spelling of the number.
    #[test]
    fn all_spellings_of_a_number_have_its_hash() {
        let hasher = masters(A).number_hasher();
        let hash = &hasher.hashes("+15555550142")[0];
        for spelling in ["15555550142", "tel:+1-555-555-0142", "sip:+15555550142@pbx.example.com;user=phone"] {
            assert!(hasher.hashes(spelling).contains(hash), "{spelling}");
        }
    }
}
