//! Ids, each with its own type, so that swapping two does not compile.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The tenant that a webhook's credential identifies.
///
/// Not Vapi's `orgId`: one Vapi account may serve many tenants, and the tenant is never read from a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrgId(Uuid);

/// The text is not a valid id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Not a UUID in the canonical form, 8-4-4-4-12 hexadecimal digits.
    #[error("an org id is a UUID written with hyphens")]
    Org,
    /// Not 1 to 128 characters of `A-Z a-z 0-9 . _ -`, or `.` or `..`.
    #[error("a call id is 1 to 128 letters, digits, dots, underscores or hyphens")]
    VapiCall,
}

impl FromStr for OrgId {
    type Err = InvalidId;

    /// Accepts only one spelling, because an id with several spellings could pass one comparison and fail another.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        const HYPHENATED: usize = 36;
        if text.len() != HYPHENATED {
            return Err(InvalidId::Org);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidId::Org)
    }
}

/// An agent of an org (`agents.id`). Not Vapi's id of an assistant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentId(Uuid);

/// A lead of an org (`leads.id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeadId(Uuid);

/// Common code for ids that the database generates. The inner value is exposed only to SQL and JSON.
macro_rules! database_id {
    ($($id:ident)*) => {$(
        impl $id {
            /// The id as an SQL parameter.
            #[must_use]
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl From<Uuid> for $id {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
    )*};
}

database_id!(OrgId AgentId LeadId);

impl FromStr for AgentId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// The begin of the ids of [`VapiCallId::of_call_without_id`]. `find_missing_reports_v1` leaves these calls out.
const CALL_WITHOUT_ID: &str = "turned-away-";

/// Vapi's id of a call (`Call.id`), the same during the whole call.
///
/// Today a UUID. Vapi guarantees no format, so any text that is safe in a key, a log and a path is accepted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VapiCallId(String);

impl VapiCallId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl VapiCallId {
    /// The id of an inbound call that Vapi did not accept and to which it gave no id. `content` is the hash of the
    /// message. No id of Vapi begins with the same text.
    pub(crate) fn of_call_without_id(content: &str) -> Self {
        Self(format!("{CALL_WITHOUT_ID}{content}"))
    }
}

impl TryFrom<String> for VapiCallId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        const MAX: usize = 128;
        // `.` and `..` name folders. In a path they would lead elsewhere.
        let usable = (1..=MAX).contains(&text.len()) && is_token(&text) && !matches!(text.as_str(), "." | "..");
        if usable { Ok(Self(text)) } else { Err(InvalidId::VapiCall) }
    }
}

impl FromStr for VapiCallId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.to_owned().try_into()
    }
}

impl From<VapiCallId> for String {
    fn from(id: VapiCallId) -> Self {
        id.0
    }
}

impl fmt::Display for VapiCallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The idempotency key of a stored event. It is derived from the event's content, so that equal keys mean equal facts.
///
/// The format is `{type}:{call id}:...:{sha256}`. The call id comes before the hash so that the keys of a call are
/// adjacent in the index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventKey(String);

impl EventKey {
    /// Wraps a key that the events module computed or that was read from the log.
    #[must_use]
    pub fn new(key: String) -> Self {
        Self(key)
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Only letters, digits, dots, underscores and hyphens: safe in a key, a log line or a metric.
pub(crate) fn is_token(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_org_id_has_one_spelling_in_any_case() {
        let lower = "c7df4bf1-8ab6-4f44-9226-e3d389b99ceb";
        let org: OrgId = lower.to_uppercase().parse().unwrap();
        assert_eq!(org.to_string(), lower);
        for refused in [
            "",
            "c7df4bf18ab64f449226e3d389b99ceb",
            "{c7df4bf1-8ab6-4f44-9226-e3d389b99ceb}",
            "urn:uuid:c7df4bf1-8ab6-4f44-9226-e3d389b99ceb",
            "c7df4bf1-8ab6-4f44-9226-e3d389b99ce ",
            "c7df4bf18-ab6-4f44-9226-e3d389b99ceb",
        ] {
            assert_eq!(refused.parse::<OrgId>(), Err(InvalidId::Org), "{refused}");
        }
    }

    #[test]
    fn a_call_id_is_a_short_safe_text() {
        assert!("019d6b04-e541-7eaf-a178-c7f1eb9f217a".parse::<VapiCallId>().is_ok());
        assert!("a".repeat(128).parse::<VapiCallId>().is_ok());
        assert!("...".parse::<VapiCallId>().is_ok());
        for refused in ["", ".", "..", "a:b", "a b", "a/b", "é", &"a".repeat(129)] {
            assert_eq!(refused.parse::<VapiCallId>(), Err(InvalidId::VapiCall), "{refused}");
        }
    }

    #[test]
    fn a_call_id_from_a_queue_is_validated() {
        assert!(serde_json::from_str::<VapiCallId>(r#""a-1""#).is_ok());
        assert!(serde_json::from_str::<VapiCallId>(r#""a:1""#).is_err());
    }
}
