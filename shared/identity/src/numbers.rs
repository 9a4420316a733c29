//! Keyed hashes of phone numbers. They replace a number where the number itself must not be stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::keys::{KeySet, Subkey};

/// The length to which a hash is cut, in bytes: enough that no two numbers have the same hash.
const HASH_LENGTH: usize = 16;

/// Hashes phone numbers. Without the key, a hash cannot be reversed by trying all numbers.
#[derive(Clone)]
pub struct NumberHasher(KeySet<Subkey>);

impl NumberHasher {
    pub(crate) const fn new(keys: KeySet<Subkey>) -> Self {
        Self(keys)
    }

    /// `{kid}.{base64url}`, one hash for each master key.
    #[must_use]
    pub fn hashes(&self, number: &str) -> Vec<String> {
        let keys = self.0.iter();
        keys.map(|named| format!("{}.{}", named.kid, URL_SAFE_NO_PAD.encode(&named.key.mac(number)[..HASH_LENGTH])))
            .collect()
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
}
