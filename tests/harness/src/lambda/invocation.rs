//! An invocation of a function and its result.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Result of an invocation: the function's answer, or the reason why there is none.
pub(super) type Answer = Result<Bytes, InvocationError>;

/// An invocation on its way to an execution environment.
pub(super) struct Invocation {
    /// Request id that the function receives.
    pub(super) id: Uuid,
    /// Event.
    pub(super) payload: Bytes,
    /// Sender of the answer. It is dropped without an answer if the environment's process ended.
    pub(super) respond: oneshot::Sender<Answer>,
}

/// Reason why a function did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvocationError {
    /// The host runs no function of this name.
    NoSuchFunction(String),
    /// The function returned an error: the JSON that its runtime sent.
    Failed(String),
    /// No new environment could be started, for this reason.
    NotStarted(String),
    /// The environment's process ended during the invocation.
    Died,
    /// The function exceeded its timeout, and its process was killed.
    TimedOut(Duration),
}

impl fmt::Display for InvocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchFunction(name) => write!(f, "there is no function {name}"),
            Self::Failed(error) => write!(f, "the function failed: {error}"),
            Self::NotStarted(reason) => write!(f, "the function could not be started: {reason}"),
            Self::Died => f.write_str("the function's process died"),
            Self::TimedOut(limit) => write!(f, "the function timed out after {limit:?}"),
        }
    }
}

impl std::error::Error for InvocationError {}
