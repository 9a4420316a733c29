//! Numbered failure codes: the same code in the log, the answer, the dead-letter row and the runbook.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a failure means for the event. The class alone picks the HTTP status, the fate on the queue and the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// Trying again later may succeed.
    Transient,
    /// Trying again changes nothing: to the dead-letter queue at once.
    Permanent,
    /// No valid credential.
    Unauthorised,
    /// The sender must change the request.
    BadRequest,
    /// The event is kept until its org is known.
    Unresolved,
}

impl FailureClass {
    /// The class as metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Unauthorised => "unauthorised",
            Self::BadRequest => "bad-request",
            Self::Unresolved => "unresolved",
        }
    }
}

/// Why something failed. Each code has its page, `docs/failure-codes/RFnnnn.md`.
///
/// The first digit tells the area: 1 the database is away, 2 the event cannot be applied, 3 the queue, 4 the request,
/// 5 the org, 6 the viewers, 7 the tools, 8 the recordings. A number is never given a second meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FailureCode {
    /// No connection to the database.
    DatabaseUnreachable,
    /// The database did not answer in time.
    DatabaseTimeout,
    /// A deadlock, a serialization failure or a lock timeout.
    DatabaseConflict,
    /// The database is out of connections, memory or disk.
    DatabaseExhausted,
    /// The database is starting, stopping or read-only.
    DatabaseRestarting,
    /// A function, table, column or index is missing: a deploy or a rollback is in progress.
    SchemaMismatch,
    /// The event violates a named constraint.
    ConstraintViolated,
    /// The database refused the statement.
    StatementRefused,
    /// A queued event cannot be read.
    EventUnreadable,
    /// The key had been revoked before the event was received.
    KeyRevoked,
    /// The handler panicked.
    HandlerPanicked,
    /// A second org was set in one transaction.
    SecondOrgInTransaction,
    /// The queue did not take the message.
    QueueUnavailable,
    /// The event is larger than any that can be taken.
    EventTooLarge,
    /// An event that no queue message can hold could not be parked, or not be read from where it is parked.
    ParkingUnavailable,
    /// No valid credential came with the request.
    Unauthorised,
    /// The body is not JSON.
    BodyNotJson,
    /// The body has no `message.type`.
    MessageTypeMissing,
    /// A message of a stored type has no usable call id.
    CallIdMissing,
    /// The body is larger than accepted.
    BodyTooLarge,
    /// The message's type is not served.
    NotServed,
    /// No org is registered for what the event names.
    OrgUnknown,
    /// The event names two orgs.
    OrgAmbiguous,
    /// A frame did not reach a viewer that is connected.
    PushFailed,
    /// The org has not registered the tool.
    ToolUnknown,
    /// No connection to a registered endpoint.
    ToolUnreachable,
    /// A registered endpoint did not answer in time.
    ToolTimeout,
    /// A registered endpoint leads to a private address, or redirects.
    ToolAddressRefused,
    /// A registered endpoint answered with another status than 2xx.
    ToolFailed,
    /// A registered endpoint's answer is not what was asked for.
    ToolAnswerUnreadable,
    /// A registered endpoint's answer is larger than accepted.
    ToolAnswerTooLarge,
    /// A tool call's fate is unknown, and it must not be sent twice.
    ToolInterrupted,
    /// The model's arguments are not a JSON object.
    ToolArgumentsUnreadable,
    /// The connection to a registered endpoint ended before its answer was read.
    ToolConnectionLost,
    /// The link to a recording has expired, and there is no other way to it.
    RecordingExpired,
    /// Vapi has no such recording, or not yet.
    RecordingNotFound,
    /// The link to a recording leads to a place that is not allowed, or redirects there.
    RecordingRefused,
    /// A recording is larger than accepted.
    RecordingTooLarge,
    /// The bucket did not take a recording.
    RecordingStorage,
    /// A recording could not be fetched to its end.
    RecordingUnreachable,
    /// Vapi refuses the org's API key, or the org's API key cannot be read.
    RecordingForbidden,
    /// The org has no API key at Vapi, so nobody can ask for a call whose report never came.
    VapiKeyMissing,
    /// Vapi has no such call, or no longer.
    VapiCallUnknown,
    /// Vapi does not take the org's API key.
    VapiKeyRefused,
    /// Vapi's API is not reached, is too busy, or answers with something else.
    VapiUnavailable,
}

impl FailureCode {
    /// All codes, in the order of their numbers.
    pub const ALL: [Self; 45] = [
        Self::DatabaseUnreachable,
        Self::DatabaseTimeout,
        Self::DatabaseConflict,
        Self::DatabaseExhausted,
        Self::DatabaseRestarting,
        Self::SchemaMismatch,
        Self::ConstraintViolated,
        Self::StatementRefused,
        Self::EventUnreadable,
        Self::KeyRevoked,
        Self::HandlerPanicked,
        Self::SecondOrgInTransaction,
        Self::QueueUnavailable,
        Self::EventTooLarge,
        Self::ParkingUnavailable,
        Self::Unauthorised,
        Self::BodyNotJson,
        Self::MessageTypeMissing,
        Self::CallIdMissing,
        Self::BodyTooLarge,
        Self::NotServed,
        Self::OrgUnknown,
        Self::OrgAmbiguous,
        Self::PushFailed,
        Self::ToolUnknown,
        Self::ToolUnreachable,
        Self::ToolTimeout,
        Self::ToolAddressRefused,
        Self::ToolFailed,
        Self::ToolAnswerUnreadable,
        Self::ToolAnswerTooLarge,
        Self::ToolInterrupted,
        Self::ToolArgumentsUnreadable,
        Self::ToolConnectionLost,
        Self::RecordingExpired,
        Self::RecordingNotFound,
        Self::RecordingRefused,
        Self::RecordingTooLarge,
        Self::RecordingStorage,
        Self::RecordingUnreachable,
        Self::RecordingForbidden,
        Self::VapiKeyMissing,
        Self::VapiCallUnknown,
        Self::VapiKeyRefused,
        Self::VapiUnavailable,
    ];

    /// The number after `RF`.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::DatabaseUnreachable => 1001,
            Self::DatabaseTimeout => 1002,
            Self::DatabaseConflict => 1003,
            Self::DatabaseExhausted => 1004,
            Self::DatabaseRestarting => 1005,
            Self::SchemaMismatch => 1006,
            Self::ConstraintViolated => 2001,
            Self::StatementRefused => 2002,
            Self::EventUnreadable => 2003,
            Self::KeyRevoked => 2004,
            Self::HandlerPanicked => 2005,
            Self::SecondOrgInTransaction => 2006,
            Self::QueueUnavailable => 3001,
            Self::EventTooLarge => 3002,
            Self::ParkingUnavailable => 3003,
            Self::Unauthorised => 4001,
            Self::BodyNotJson => 4002,
            Self::MessageTypeMissing => 4003,
            Self::CallIdMissing => 4004,
            Self::BodyTooLarge => 4005,
            Self::NotServed => 4006,
            Self::OrgUnknown => 5001,
            Self::OrgAmbiguous => 5002,
            Self::PushFailed => 6001,
            Self::ToolUnknown => 7001,
            Self::ToolUnreachable => 7002,
            Self::ToolTimeout => 7003,
            Self::ToolAddressRefused => 7004,
            Self::ToolFailed => 7005,
            Self::ToolAnswerUnreadable => 7006,
            Self::ToolAnswerTooLarge => 7007,
            Self::ToolInterrupted => 7008,
            Self::ToolArgumentsUnreadable => 7009,
            Self::ToolConnectionLost => 7010,
            Self::RecordingExpired => 8001,
            Self::RecordingNotFound => 8002,
            Self::RecordingRefused => 8003,
            Self::RecordingTooLarge => 8004,
            Self::RecordingStorage => 8005,
            Self::RecordingUnreachable => 8006,
            Self::RecordingForbidden => 8007,
            Self::VapiKeyMissing => 9001,
            Self::VapiCallUnknown => 9002,
            Self::VapiKeyRefused => 9003,
            Self::VapiUnavailable => 9004,
        }
    }

    /// What the failure means for the event.
    #[must_use]
    pub const fn class(self) -> FailureClass {
        match self {
            Self::DatabaseUnreachable
            | Self::DatabaseTimeout
            | Self::DatabaseConflict
            | Self::DatabaseExhausted
            | Self::DatabaseRestarting
            | Self::SchemaMismatch
            | Self::QueueUnavailable
            | Self::ParkingUnavailable
            | Self::PushFailed
            | Self::ToolUnreachable
            | Self::ToolTimeout
            | Self::ToolConnectionLost
            | Self::RecordingNotFound
            | Self::RecordingStorage
            | Self::RecordingUnreachable
            | Self::VapiKeyRefused
            | Self::VapiUnavailable => FailureClass::Transient,
            Self::ConstraintViolated
            | Self::StatementRefused
            | Self::EventUnreadable
            | Self::HandlerPanicked
            | Self::SecondOrgInTransaction
            | Self::EventTooLarge
            | Self::ToolAddressRefused
            | Self::ToolFailed
            | Self::ToolAnswerUnreadable
            | Self::ToolAnswerTooLarge
            | Self::ToolInterrupted
            | Self::RecordingExpired
            | Self::RecordingRefused
            | Self::RecordingTooLarge
            | Self::RecordingForbidden
            | Self::VapiKeyMissing
            | Self::VapiCallUnknown => FailureClass::Permanent,
            Self::KeyRevoked | Self::Unauthorised => FailureClass::Unauthorised,
            Self::BodyNotJson
            | Self::MessageTypeMissing
            | Self::CallIdMissing
            | Self::BodyTooLarge
            | Self::NotServed
            | Self::ToolUnknown
            | Self::ToolArgumentsUnreadable => FailureClass::BadRequest,
            Self::OrgUnknown | Self::OrgAmbiguous => FailureClass::Unresolved,
        }
    }

    /// One line for people, the same as on the code's page. It never holds data.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::DatabaseUnreachable => "Database unreachable",
            Self::DatabaseTimeout => "Database timeout",
            Self::DatabaseConflict => "Database conflict",
            Self::DatabaseExhausted => "Database exhausted",
            Self::DatabaseRestarting => "Database restarting",
            Self::SchemaMismatch => "Schema mismatch",
            Self::ConstraintViolated => "Constraint violated",
            Self::StatementRefused => "Statement refused",
            Self::EventUnreadable => "Event unreadable",
            Self::KeyRevoked => "Key revoked",
            Self::HandlerPanicked => "Handler panicked",
            Self::SecondOrgInTransaction => "Second org in one transaction",
            Self::QueueUnavailable => "Queue unavailable",
            Self::EventTooLarge => "Event too large",
            Self::ParkingUnavailable => "Parking unavailable",
            Self::Unauthorised => "Unauthorised",
            Self::BodyNotJson => "Body is not JSON",
            Self::MessageTypeMissing => "Message type missing",
            Self::CallIdMissing => "Call id missing",
            Self::BodyTooLarge => "Body too large",
            Self::NotServed => "Message not served",
            Self::OrgUnknown => "Org unknown",
            Self::OrgAmbiguous => "Org ambiguous",
            Self::PushFailed => "Push failed",
            Self::ToolUnknown => "Tool unknown",
            Self::ToolUnreachable => "Tool unreachable",
            Self::ToolTimeout => "Tool timeout",
            Self::ToolAddressRefused => "Tool address refused",
            Self::ToolFailed => "Tool failed",
            Self::ToolAnswerUnreadable => "Tool answer unreadable",
            Self::ToolAnswerTooLarge => "Tool answer too large",
            Self::ToolInterrupted => "Tool interrupted",
            Self::ToolArgumentsUnreadable => "Tool arguments unreadable",
            Self::ToolConnectionLost => "Tool connection lost",
            Self::RecordingExpired => "Recording expired",
            Self::RecordingNotFound => "Recording not found",
            Self::RecordingRefused => "Recording refused",
            Self::RecordingTooLarge => "Recording too large",
            Self::RecordingStorage => "Recording storage",
            Self::RecordingUnreachable => "Recording unreachable",
            Self::RecordingForbidden => "Recording forbidden",
            Self::VapiKeyMissing => "No key for Vapi",
            Self::VapiCallUnknown => "Call unknown to Vapi",
            Self::VapiKeyRefused => "Key refused by Vapi",
            Self::VapiUnavailable => "Vapi unavailable",
        }
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RF{}", self.number())
    }
}

/// A text is not the code of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a failure code")]
pub struct UnknownFailureCode;

impl FromStr for FailureCode {
    type Err = UnknownFailureCode;

    fn from_str(text: &str) -> Result<Self, UnknownFailureCode> {
        Self::ALL.into_iter().find(|code| code.to_string() == text).ok_or(UnknownFailureCode)
    }
}

impl TryFrom<String> for FailureCode {
    type Error = UnknownFailureCode;

    fn try_from(text: String) -> Result<Self, UnknownFailureCode> {
        text.parse()
    }
}

impl From<FailureCode> for String {
    fn from(code: FailureCode) -> Self {
        code.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn page(name: &str) -> String {
        let pages = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/failure-codes"));
        fs::read_to_string(pages.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    #[test]
    fn every_code_has_its_page_and_its_line_in_the_index() {
        let index = page("README.md");
        for code in FailureCode::ALL {
            let heading = format!("# {code}: {}\n", code.title());
            assert!(page(&format!("{code}.md")).starts_with(&heading), "{code}");
            assert!(index.contains(&format!("[{code}]({code}.md)")), "{code}");
        }
    }

    #[test]
    fn numbers_are_unique_and_in_order() {
        assert!(FailureCode::ALL.is_sorted_by(|a, b| a.number() < b.number()));
    }

    #[test]
    fn a_code_survives_its_text() {
        for code in FailureCode::ALL {
            assert_eq!(code.to_string().parse(), Ok(code));
        }
        assert_eq!("RF9999".parse::<FailureCode>(), Err(UnknownFailureCode));
        assert_eq!(serde_json::to_string(&FailureCode::DatabaseTimeout).unwrap(), r#""RF1002""#);
    }
}
