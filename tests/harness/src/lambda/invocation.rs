//! One invocation of a function, and what becomes of it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

/// What an invocation ends in: the function's answer, or why there is none.
pub(super) type Answer = Result<Bytes, InvocationError>;

/// An invocation on its way to an execution environment.
pub(super) struct Invocation {
    /// The request id that the function sees.
    pub(super) id: Uuid,
    /// The event.
    pub(super) payload: Bytes,
    /// Where the answer goes. Dropped without one: the environment was lost.
    pub(super) respond: oneshot::Sender<Answer>,
}

/// Why a function did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvocationError {
    /// The host runs no function of this name.
    NoSuchFunction(String),
    /// The function answered with an error: the JSON that its runtime sent.
    Failed(String),
    /// No new environment could be started, and why.
    NotStarted(String),
    /// The environment's process died meanwhile.
    Died,
    /// The function took longer than its timeout, and its process was killed.
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
