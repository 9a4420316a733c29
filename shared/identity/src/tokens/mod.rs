//! Short-lived tokens for people: JWT (RFC 7519). Live-view tokens are signed with HMAC-SHA256 and are always for one
//! org. Console tokens are signed with Ed25519: the console has only the public key, so it cannot create one.

mod jwt;

pub mod console;
pub mod live;

use jiff::Timestamp;
use ringfence_vapi::OrgId;
use ringfence_vapi::ids::InvalidId;
use serde::{Deserialize, Serialize};

use crate::keys::CryptoError;

pub use console::{ConsoleTokenMinter, ConsoleTokenVerifier};
pub use live::LiveTokens;

/// The use of a token. A token for one audience is not valid for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The WebSocket API and the playback API.
    Live,
    /// Signing in to the console.
    Console,
}

impl Audience {
    /// The name in a token.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Console => "console",
        }
    }
}

/// The orgs whose data the holder of a console token may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Scope {
    /// One org.
    Org(OrgId),
    /// All orgs. Each access is audited.
    Operator,
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Org(org) => org.to_string(),
            Scope::Operator => "operator".to_owned(),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        if text == "operator" { Ok(Self::Operator) } else { text.parse().map(Self::Org) }
    }
}

/// The claims of a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims<S> {
    /// The orgs whose data the holder may see.
    pub scope: S,
    /// The holder: the name in the audit log.
    pub holder: String,
    /// The time from which the token is not valid.
    pub expires_at: Timestamp,
}

/// A live-view token is always for one org.
pub type LiveClaims = Claims<OrgId>;
pub type ConsoleClaims = Claims<Scope>;

/// Identifies a token where the token itself must not be stored.
#[must_use]
pub fn token_sha256(token: &str) -> [u8; 32] {
    openssl::sha::sha256(token.as_bytes())
}

/// The text is not a token, or the token was signed with another key or for another audience, or has expired. The
/// error does not say which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no valid token")]
pub struct InvalidToken;

/// A token cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    #[error("the token cannot be written")]
    Json(#[from] serde_json::Error),
    #[error("the token would expire at a time that cannot be represented")]
    Time(#[from] jiff::Error),
}
