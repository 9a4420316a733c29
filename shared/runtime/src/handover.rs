//! Spills events to the retry queues. An event that is too large for a queue message is parked by its own function.

use std::time::Duration;

use aws_types::SdkConfig;
use ringfence_aws::{InvokeError, Invoker};
use ringfence_protocol::ParkRequest;
use ringfence_vapi::{FailureCode, Function};
use strum::IntoEnumIterator as _;

use crate::codes::Coded;
use crate::configuration::Environment;

/// The function may have to start, and then moves some megabytes.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Invokes the event functions.
pub struct Handover {
    invoker: Invoker,
    names: Vec<(Function, String)>,
}

/// An event was not parked by its function.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The request cannot be written as JSON.
    #[error("the request cannot be written")]
    Unwritable(#[from] serde_json::Error),
    /// No function is configured for the event.
    #[error("no function is configured for {0}")]
    NoFunction(Function),
    /// The function was not invoked, or failed.
    #[error(transparent)]
    Invoke(#[from] InvokeError),
}

impl Coded for HandoverError {
    fn code(&self) -> FailureCode {
        match self {
            Self::Unwritable(_) => FailureCode::EventUnreadable,
            Self::NoFunction(_) | Self::Invoke(_) => FailureCode::ParkingUnavailable,
        }
    }
}

impl Handover {
    /// The event functions of the stack.
    #[must_use]
    pub fn from_environment(environment: &Environment<'_>, aws: &SdkConfig) -> Self {
        let names = Function::iter().map(|function| (function, environment.function_name(function.as_str())));
        Self { names: names.collect(), invoker: Invoker::new(aws, TIMEOUT) }
    }

    /// Has the event's function park the event and send a message to its queue. Both are done when this returns.
    pub async fn park(&self, function: Function, request: &ParkRequest) -> Result<(), HandoverError> {
        let name = self.names.iter().find(|(named, _)| *named == function).map(|(_, name)| name.as_str());
        let name = name.ok_or(HandoverError::NoFunction(function))?;
        self.invoker.invoke(name, serde_json::to_vec(request)?).await?;
        Ok(())
    }
}
