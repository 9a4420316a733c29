//! The purposes of derived keys.

use std::fmt;
use std::str::FromStr;

/// A use of keys. Each purpose has its own keys, so a key of one purpose is never valid for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Verifies org keys.
    OrgKeys,
    /// Verifies the platform key.
    PlatformKeys,
    /// Seals and opens links to recordings (AES-256-GCM).
    RecordingLinks,
    /// Seals and opens the orgs' API keys at Vapi (AES-256-GCM).
    ApiKeys,
    /// Signs requests to org endpoints.
    EndpointSecrets,
    /// Hashes phone numbers, for the tombstones of erased numbers.
    NumberTombstones,
    /// Seals messages of unknown types (AES-256-GCM, with a key of each org).
    QuarantinedMessages,
    /// Signs and verifies tokens for the live view (HMAC-SHA256).
    LiveTokens,
    /// Verifies console tokens. The private key is derived from the master key; a key ring has the public key
    /// (Ed25519).
    ConsoleTokens,
}

impl Purpose {
    pub const ALL: [Self; 9] = [
        Self::OrgKeys,
        Self::PlatformKeys,
        Self::RecordingLinks,
        Self::ApiKeys,
        Self::EndpointSecrets,
        Self::NumberTombstones,
        Self::QuarantinedMessages,
        Self::LiveTokens,
        Self::ConsoleTokens,
    ];

    /// The name in a key ring and in the label of the derivation. Short, because Lambda limits the size of the
    /// environment.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OrgKeys => "org",
            Self::PlatformKeys => "platform",
            Self::RecordingLinks => "link",
            Self::ApiKeys => "api-key",
            Self::EndpointSecrets => "endpoint",
            Self::NumberTombstones => "number",
            Self::QuarantinedMessages => "quarantine",
            Self::LiveTokens => "live",
            Self::ConsoleTokens => "console",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of a purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPurpose;

impl FromStr for Purpose {
    type Err = UnknownPurpose;

    fn from_str(text: &str) -> Result<Self, UnknownPurpose> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text).ok_or(UnknownPurpose)
    }
}
