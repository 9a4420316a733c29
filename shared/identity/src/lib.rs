//! Identity: request authentication, keys, signatures, tokens and sealing.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking"))]

pub mod authenticate;
pub mod keys;
pub mod seal;
pub mod tokens;

mod signature;

pub use authenticate::{Authenticator, Raw, Unauthorised, Verified};
pub use keys::{Key, MasterKeys, Subject, ToolSecret};
pub use seal::Sealer;
pub use tokens::{Audience, Claims, InvalidToken, Scope, Tokens};
