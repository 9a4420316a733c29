//! The failure code of each error, one table per module. A failure code is for operators: code that reacts to an error matches its
//! variants.

use ringfence_aws::{BucketError, QueueError};
use ringfence_egress::{EndpointError, VapiApiError};
use ringfence_vapi::{FailureClass, FailureCode};

use crate::envelope::EnvelopeError;

/// An error that operators see.
pub trait Coded {
    fn code(&self) -> FailureCode;

    /// Decides the HTTP status, the fate on the queue and the metric.
    fn class(&self) -> FailureClass {
        self.code().class()
    }
}

impl Coded for QueueError {
    fn code(&self) -> FailureCode {
        match self {
            Self::Unavailable | Self::Incomplete(_) => FailureCode::QueueUnavailable,
        }
    }
}

/// For the bucket of recordings. The bucket of parked events has [`crate::parking`].
impl Coded for BucketError {
    fn code(&self) -> FailureCode {
        match self {
            Self::Unavailable | Self::NotSigned | Self::Incomplete(_) => FailureCode::RecordingStorage,
        }
    }
}

impl Coded for EndpointError {
    fn code(&self) -> FailureCode {
        match self {
            Self::AddressRefused | Self::Redirected => FailureCode::ToolAddressRefused,
            Self::Unreachable | Self::NotSigned => FailureCode::ToolUnreachable,
            Self::ConnectionLost => FailureCode::ToolConnectionLost,
            Self::Timeout => FailureCode::ToolTimeout,
            Self::Status(_) => FailureCode::ToolFailed,
            Self::TooLarge => FailureCode::ToolAnswerTooLarge,
        }
    }
}

/// For requests about calls and settings. Requests for a recording have a table of their own in the function `recording-upload`.
impl Coded for VapiApiError {
    fn code(&self) -> FailureCode {
        match self {
            Self::KeyRefused => FailureCode::VapiKeyRefused,
            Self::NotFound => FailureCode::VapiCallUnknown,
            Self::Busy(_)
            | Self::Status(_)
            | Self::AddressRefused
            | Self::Unreachable
            | Self::Timeout
            | Self::Unreadable => FailureCode::VapiUnavailable,
        }
    }
}

impl Coded for EnvelopeError {
    fn code(&self) -> FailureCode {
        match self {
            Self::TooLarge(_) => FailureCode::EventTooLarge,
            Self::Unreadable => FailureCode::EventUnreadable,
        }
    }
}
