//! Numbered failure codes. The log, the response, the dead letter's row and the runbook use the same code.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use strum::{EnumIter, IntoEnumIterator as _, IntoStaticStr};

/// The class of a failure. It decides the HTTP status, the handling of the queue message and the metric.
///
/// The exceptions for single codes are in [`FailureCode::http_status`] and [`FailureCode::is_retried_after`]. The
/// exceptions for single functions are in `docs/ARCHITECTURE.md`.
#[derive(Clone, Copy, Debug, IntoStaticStr, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum FailureClass {
    /// A retry may succeed.
    Transient,
    /// A retry cannot succeed. The event moves to the dead-letter queue at once.
    Permanent,
    /// The credential is missing or invalid.
    Unauthorised,
    /// The sender must change the request.
    BadRequest,
    /// The event waits until its org is known.
    Unresolved,
}

impl FailureClass {
    /// The class's name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// The cause of a failure. Each code has a page, `docs/failure-codes/RFnnnn.md`.
///
/// The first digit is the area: 1 the database is unavailable, 2 the event cannot be applied, 3 the queue, 4 the
/// request, 5 the org, 6 the viewers, 7 the tools, 8 the recordings. A number is never reused.
#[derive(Clone, Copy, Debug, EnumIter, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// The queue did not accept the message.
    QueueUnavailable,
    /// The event exceeds the largest accepted size.
    EventTooLarge,
    /// An event too large for a queue message could not be parked in S3 or read from there.
    ParkingUnavailable,
    /// The request has no valid credential.
    Unauthorised,
    /// The body is not JSON.
    BodyNotJson,
    /// The body has no `message.type`.
    MessageTypeMissing,
    /// A message of a stored type has no valid call id.
    CallIdMissing,
    /// The body exceeds the largest accepted size.
    BodyTooLarge,
    /// The message type is not supported.
    NotServed,
    /// The body, or a part of it, is compressed or encrypted in a way that is not supported.
    EncodingNotSupported,
    /// The event names no registered call, assistant, squad or phone number.
    OrgUnknown,
    /// The event names two orgs.
    OrgAmbiguous,
    /// A frame did not reach a connected viewer.
    PushFailed,
    /// The org has not registered the tool.
    ToolUnknown,
    /// No connection to a registered endpoint.
    ToolUnreachable,
    /// A registered endpoint did not respond in time.
    ToolTimeout,
    /// A registered endpoint resolves to a private address, or redirects.
    ToolAddressRefused,
    /// A registered endpoint responded with a status other than 2xx.
    ToolFailed,
    /// A registered endpoint's response has the wrong shape.
    ToolAnswerUnreadable,
    /// A registered endpoint's response exceeds the largest accepted size.
    ToolAnswerTooLarge,
    /// The outcome of a tool call is unknown, and the call must not be sent twice.
    ToolInterrupted,
    /// The model's arguments are not a JSON object.
    ToolArgumentsUnreadable,
    /// The connection to a registered endpoint ended before the response was read.
    ToolConnectionLost,
    /// A message has more tool calls than are executed, or calls without an id.
    ToolCallsExcess,
    /// The link to a recording has expired, and the recording cannot be fetched in another way.
    RecordingExpired,
    /// Vapi does not have the recording, or does not have it yet.
    RecordingNotFound,
    /// The link to a recording points or redirects to a host that is not allowed.
    RecordingRefused,
    /// A recording exceeds the largest accepted size.
    RecordingTooLarge,
    /// The bucket did not accept a recording.
    RecordingStorage,
    /// A recording could not be fetched completely.
    RecordingUnreachable,
    /// Vapi rejects the org's API key, or the stored key cannot be read.
    RecordingForbidden,
    /// The org has no API key at Vapi, so Ringfence cannot request a missing report.
    VapiKeyMissing,
    /// Vapi does not have the call, or no longer has it.
    VapiCallUnknown,
    /// Vapi rejects the org's API key.
    VapiKeyRefused,
    /// Vapi's API is unreachable or overloaded, or its response is unexpected.
    VapiUnavailable,
}

impl FailureCode {
    /// The table of codes: number, class and title.
    const fn row(self) -> (u16, FailureClass, &'static str) {
        use FailureClass::{BadRequest, Permanent, Transient, Unauthorised, Unresolved};
        match self {
            Self::DatabaseUnreachable => (1001, Transient, "Database unreachable"),
            Self::DatabaseTimeout => (1002, Transient, "Database timeout"),
            Self::DatabaseConflict => (1003, Transient, "Database conflict"),
            Self::DatabaseExhausted => (1004, Transient, "Database exhausted"),
            Self::DatabaseRestarting => (1005, Transient, "Database restarting"),
            Self::SchemaMismatch => (1006, Transient, "Schema mismatch"),
            Self::ConstraintViolated => (2001, Permanent, "Constraint violated"),
            Self::StatementRefused => (2002, Permanent, "Statement refused"),
            Self::EventUnreadable => (2003, Permanent, "Event unreadable"),
            Self::KeyRevoked => (2004, Unauthorised, "Key revoked"),
            Self::HandlerPanicked => (2005, Permanent, "Handler panicked"),
            Self::SecondOrgInTransaction => (2006, Permanent, "Second org in one transaction"),
            Self::QueueUnavailable => (3001, Transient, "Queue unavailable"),
            Self::EventTooLarge => (3002, Permanent, "Event too large"),
            Self::ParkingUnavailable => (3003, Transient, "Parking unavailable"),
            Self::Unauthorised => (4001, Unauthorised, "Unauthorised"),
            Self::BodyNotJson => (4002, BadRequest, "Body is not JSON"),
            Self::MessageTypeMissing => (4003, BadRequest, "Message type missing"),
            Self::CallIdMissing => (4004, BadRequest, "Call id missing"),
            Self::BodyTooLarge => (4005, BadRequest, "Body too large"),
            Self::NotServed => (4006, BadRequest, "Message not served"),
            Self::EncodingNotSupported => (4007, BadRequest, "Encoding not supported"),
            Self::OrgUnknown => (5001, Unresolved, "Org unknown"),
            Self::OrgAmbiguous => (5002, Unresolved, "Org ambiguous"),
            Self::PushFailed => (6001, Transient, "Push failed"),
            Self::ToolUnknown => (7001, BadRequest, "Tool unknown"),
            Self::ToolUnreachable => (7002, Transient, "Tool unreachable"),
            Self::ToolTimeout => (7003, Transient, "Tool timeout"),
            Self::ToolAddressRefused => (7004, Permanent, "Tool address refused"),
            Self::ToolFailed => (7005, Permanent, "Tool failed"),
            Self::ToolAnswerUnreadable => (7006, Permanent, "Tool answer unreadable"),
            Self::ToolAnswerTooLarge => (7007, Permanent, "Tool answer too large"),
            Self::ToolInterrupted => (7008, Permanent, "Tool interrupted"),
            Self::ToolArgumentsUnreadable => (7009, BadRequest, "Tool arguments unreadable"),
            Self::ToolConnectionLost => (7010, Transient, "Tool connection lost"),
            Self::ToolCallsExcess => (7011, BadRequest, "Tool calls in excess"),
            Self::RecordingExpired => (8001, Permanent, "Recording expired"),
            Self::RecordingNotFound => (8002, Transient, "Recording not found"),
            Self::RecordingRefused => (8003, Permanent, "Recording refused"),
            Self::RecordingTooLarge => (8004, Permanent, "Recording too large"),
            Self::RecordingStorage => (8005, Transient, "Recording storage"),
            Self::RecordingUnreachable => (8006, Transient, "Recording unreachable"),
            Self::RecordingForbidden => (8007, Permanent, "Recording forbidden"),
            Self::VapiKeyMissing => (9001, Permanent, "No key for Vapi"),
            Self::VapiCallUnknown => (9002, Permanent, "Call unknown to Vapi"),
            Self::VapiKeyRefused => (9003, Transient, "Key refused by Vapi"),
            Self::VapiUnavailable => (9004, Transient, "Vapi unavailable"),
        }
    }

    /// The number after `RF`.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.row().0
    }

    /// The failure's class.
    #[must_use]
    pub const fn class(self) -> FailureClass {
        self.row().1
    }

    /// The HTTP status of a response that reports the failure: the status of the class, with exceptions for single
    /// codes.
    ///
    /// A response of 503 means that the event is neither in the database nor in a queue. Vapi must send it again,
    /// whatever the cause.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match (self, self.class()) {
            (Self::BodyTooLarge, _) => 413,
            (Self::EncodingNotSupported, _) => 415,
            (Self::NotServed | Self::RecordingNotFound, _) => 404,
            (_, FailureClass::BadRequest) => 400,
            (_, FailureClass::Unauthorised) => 401,
            (_, FailureClass::Transient | FailureClass::Permanent | FailureClass::Unresolved) => 503,
        }
    }

    /// Whether an operation that fails with this code is retried, given the time since it was first due. A transient
    /// failure is retried, with exceptions for single codes.
    #[must_use]
    pub const fn is_retried_after(self, age: SignedDuration) -> bool {
        match self {
            // A recording may appear minutes after its report. A recording that is missing after two hours never
            // appears.
            Self::RecordingNotFound if age.as_secs() > 2 * 60 * 60 => false,
            _ => matches!(self.class(), FailureClass::Transient),
        }
    }

    /// A one-line title, the same as on the code's page. It never contains data.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().2
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RF{}", self.number())
    }
}

/// The text is not a failure code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a failure code")]
pub struct UnknownFailureCode;

impl FromStr for FailureCode {
    type Err = UnknownFailureCode;

    fn from_str(text: &str) -> Result<Self, UnknownFailureCode> {
        Self::iter().find(|code| code.to_string() == text).ok_or(UnknownFailureCode)
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
        for code in FailureCode::iter() {
            let heading = format!("# {code}: {}\n", code.title());
            assert!(page(&format!("{code}.md")).starts_with(&heading), "{code}");
            assert!(index.contains(&format!("[{code}]({code}.md)")), "{code}");
        }
    }

    #[test]
    fn numbers_are_unique_and_in_order() {
        assert!(FailureCode::iter().is_sorted_by(|a, b| a.number() < b.number()));
    }

    #[test]
    fn a_code_survives_its_text() {
        for code in FailureCode::iter() {
            assert_eq!(code.to_string().parse(), Ok(code));
        }
        assert_eq!("RF9999".parse::<FailureCode>(), Err(UnknownFailureCode));
        assert_eq!(serde_json::to_string(&FailureCode::DatabaseTimeout).unwrap(), r#""RF1002""#);
    }
}
