//! The errors of each service. The cause is in the log, where the SDK's error is at hand; none of the SDK's errors holds what was sent.

/// SQS did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// SQS was not reached in time, or refused the request.
    #[error("SQS is unavailable")]
    Unavailable,
    /// A response of SQS lacks a field that is always there.
    #[error("a response of SQS has no {0}")]
    Incomplete(&'static str),
}

/// S3 did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    /// S3 was not reached in time, or refused the request.
    #[error("S3 is unavailable")]
    Unavailable,
    /// A link could not be signed.
    #[error("a link to an object could not be signed")]
    NotSigned,
    /// A response of S3 lacks a field that is always there.
    #[error("a response of S3 has no {0}")]
    Incomplete(&'static str),
}

/// A function was not invoked, or its invocation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// Lambda was not reached in time, or refused the request.
    #[error("the function was not invoked")]
    NotInvoked,
    /// The function ran and reported an error. Its own log has the reason.
    #[error("the function failed")]
    Failed,
}
