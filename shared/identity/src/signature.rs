//! The HMAC signature of a Vapi custom credential (`HMACAuthenticationPlan`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use sha2::{Sha256, Sha512};

/// The largest difference between the sender's clock and this one, in seconds. It is also the time in which a captured
/// request can be sent again, which the idempotency claim makes harmless.
const WINDOW_SECONDS: i64 = 300;
const SHA256_LENGTH: usize = 32;
const SHA512_LENGTH: usize = 64;

/// A decoded signature. Its length determines the algorithm.
pub(crate) struct Signature(Vec<u8>);

impl Signature {
    /// Reads hex or base64, with or without an algorithm prefix such as `sha256=`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digest = text.trim().trim_start_matches("sha256=").trim_start_matches("sha512=");
        let bytes = hex::decode(digest).ok().or_else(|| STANDARD.decode(digest).ok())?;
        matches!(bytes.len(), SHA256_LENGTH | SHA512_LENGTH).then_some(Self(bytes))
    }

    /// Whether it is the signature of these parts, concatenated, with this key. Constant-time.
    pub(crate) fn signs(&self, key: &[u8], parts: &[&[u8]]) -> bool {
        match self.0.len() {
            SHA256_LENGTH => verifies::<Hmac<Sha256>>(key, parts, &self.0),
            _ => verifies::<Hmac<Sha512>>(key, parts, &self.0),
        }
    }
}

fn verifies<M: Mac + hmac::digest::KeyInit>(key: &[u8], parts: &[&[u8]], signature: &[u8]) -> bool {
    let Ok(mut mac) = <M as Mac>::new_from_slice(key) else { return false };
    for part in parts {
        mac.update(part);
    }
    mac.verify_slice(signature).is_ok()
}

/// Whether a timestamp header is within the window. Vapi does not document its unit, so seconds, milliseconds and ISO
/// 8601 are accepted.
pub(crate) fn is_fresh(header: &str, now: Timestamp) -> bool {
    /// In seconds this is the year 5138, in milliseconds 1973.
    const FIRST_MILLISECONDS: i64 = 100_000_000_000;
    let time = match header.trim().parse::<i64>() {
        Ok(number) if number >= FIRST_MILLISECONDS => Timestamp::from_millisecond(number).ok(),
        Ok(number) => Timestamp::from_second(number).ok(),
        Err(_) => header.trim().parse().ok(),
    };
    time.is_some_and(|time| (now.as_second() - time.as_second()).abs() <= WINDOW_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"sample-hmac-key-not-a-secret";
    const BODY: &[u8] = include_bytes!("../../../tests/samples/hmac-body.raw");

    /// The vectors were computed from the SDK's description of the plan, not by this code.
    #[test]
    fn the_contracts_vectors_verify() {
        for (timestamp, signature) in [
            ("1789398152980", "fc280ef94642ced924770ebd7256f463da5712fde86a12e0cbd97f5ddf6e3d51"),
            ("1789398152", "7fa25b6ea5308666d8f0fe06c9d0652cefb1c0684af9c6b26218ae23373fdb34"),
        ] {
            let signature = Signature::parse(signature).unwrap();
            assert!(signature.signs(KEY, &[timestamp.as_bytes(), b".", BODY]), "{timestamp}");
            assert!(!signature.signs(KEY, &[b"1789398153.", BODY]), "{timestamp}");
            assert!(!signature.signs(b"another key", &[timestamp.as_bytes(), b".", BODY]), "{timestamp}");
        }
        let body_only = "sha256=7785b7d149efc2ce267876bb9565e9db2af81bf40cad667b3312699b94e8ad07";
        assert!(Signature::parse(body_only).unwrap().signs(KEY, &[BODY]));
    }

    #[test]
    fn sha512_and_base64_verify_too() {
        let mut mac = <Hmac<Sha512> as Mac>::new_from_slice(KEY).unwrap();
        mac.update(BODY);
        let digest = mac.finalize().into_bytes();
        for text in [hex::encode(digest), STANDARD.encode(digest)] {
            assert!(Signature::parse(&text).unwrap().signs(KEY, &[BODY]));
        }
    }

    #[test]
    fn a_signature_that_is_no_digest_is_refused() {
        for text in ["", "sha256=", "abc", "zz", "00", "sha1=2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"] {
            assert!(Signature::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_timestamp_counts_for_five_minutes_in_any_unit() {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        for fresh in ["2026-11-22T11:55:00Z", "1795348800", "1795348800000", "1795349100", "1795348500999"] {
            assert!(is_fresh(fresh, now), "{fresh}");
        }
        for stale in ["2026-11-22T11:54:59Z", "1795349101", "1795348499", "0", "", "soon", "99999999999999999999"] {
            assert!(!is_fresh(stale, now), "{stale}");
        }
    }
}
