//! Identity: request authentication, keys, signatures, tokens and sealing.
//!
//! The function `admin` derives a key per purpose from the master keys. Every other function holds a [`KeyRing`] with
//! the derived keys of the purposes that it needs.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking"))]

pub mod authenticate;
pub mod endpoint_secrets;
pub mod masters;
pub mod numbers;
pub mod org_keys;
pub mod purpose;
pub mod ring;
pub mod seal;
pub mod tokens;

mod keys;
mod signature;

pub use authenticate::{Authenticator, Raw, Unauthorised, Verified};
pub use endpoint_secrets::{EndpointSecret, EndpointSecrets};
pub use keys::CryptoError;
pub use masters::MasterKeys;
pub use numbers::NumberHasher;
pub use org_keys::{Key, OrgKeyVerifier, PlatformKeyVerifier, Subject};
pub use purpose::Purpose;
pub use ring::{KeyRing, KeyRingError, Ring};
pub use seal::{ApiKeySealer, CursorSealer, DeliverySealer, LinkSealer, MessageSealer};
pub use tokens::{
    Audience, Claims, ConsoleClaims, ConsoleTokenMinter, ConsoleTokenVerifier, InvalidToken, LiveClaims, LiveTokens,
    MintError, Scope, token_sha256,
};
