//! The errors of each service. The cause is logged where the SDK's error is available. The SDK's errors do not contain
//! the data that was sent.

/// An SQS request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// SQS was not reached in time, or it refused the request.
    #[error("SQS is unavailable")]
    Unavailable,
    /// A response of SQS lacks a required field.
    #[error("a response of SQS has no {0}")]
    Incomplete(&'static str),
}

/// An S3 request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    /// S3 was not reached in time, or it refused the request.
    #[error("S3 is unavailable")]
    Unavailable,
    /// A link could not be signed.
    #[error("a link to an object could not be signed")]
    NotSigned,
    /// A response of S3 lacks a required field.
    #[error("a response of S3 has no {0}")]
    Incomplete(&'static str),
}

/// A function was not invoked, or its invocation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// Lambda was not reached in time, or it refused the request.
    #[error("the function was not invoked")]
    NotInvoked,
    /// The function ran and returned an error. Its own log has the cause.
    #[error("the function failed")]
    Failed,
}
