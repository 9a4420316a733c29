//! Spills events to the retry queues. An event that is too large for a queue message is parked by its own function.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_types::SdkConfig;
use ringfence_aws::{Invoker, Queue, QueueError};
use ringfence_protocol::{Delivery, ParkRequest};
use ringfence_vapi::{FailureCode, Function};

use crate::configuration::{Environment, Misconfigured};
use crate::envelope::{self, Sealed};
use crate::queues::named_queue;

/// The function may have to start, and then moves some megabytes.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Invokes the event functions.
pub struct Handover {
    invoker: Invoker,
    names: Vec<(Function, String)>,
}

impl Handover {
    /// The functions named by `CALL_STARTED_FUNCTION_NAME` and its siblings.
    pub fn from_environment(environment: &Environment<'_>, aws: &SdkConfig) -> Result<Self, Misconfigured> {
        let name = |function: Function| {
            let variable = format!("{}_FUNCTION_NAME", function.as_str().to_uppercase().replace('-', "_"));
            Ok((function, environment.required(&variable)?))
        };
        let names = Function::ALL.into_iter().map(name).collect::<Result<_, _>>()?;
        Ok(Self { invoker: Invoker::new(aws, TIMEOUT), names })
    }

    /// Has the event's function park the event and send a message to its queue. Both are done when this returns.
    pub async fn park(&self, function: Function, request: &ParkRequest) -> Result<(), FailureCode> {
        let name = self.names.iter().find(|(named, _)| *named == function).map(|(_, name)| name.as_str());
        let payload = serde_json::to_vec(request).map_err(|_| FailureCode::EventUnreadable)?;
        let invoked = self.invoker.invoke(name.unwrap_or(function.as_str()), payload).await;
        invoked.map(drop).map_err(|_| FailureCode::ParkingUnavailable)
    }
}

/// The retry queues of all event functions. An event that is too large for a message is handed over to its function.
pub struct RetryQueues {
    handover: Handover,
    call_started: Queue,
    call_ended: Queue,
    transcript: Queue,
    end_of_call_report: Queue,
}

impl RetryQueues {
    /// The queues of the environment, with the SDK's configuration `aws`.
    pub fn connect(environment: &Environment<'_>, aws: &SdkConfig) -> Result<Self, Misconfigured> {
        Self::from_environment(environment, &Client::new(aws), Handover::from_environment(environment, aws)?)
    }

    /// The queues named by `CALL_STARTED_QUEUE_URL` and its siblings.
    pub fn from_environment(
        environment: &Environment<'_>,
        client: &Client,
        handover: Handover,
    ) -> Result<Self, Misconfigured> {
        let queue = |function| named_queue(environment, client, function, "QUEUE_URL");
        Ok(Self {
            handover,
            call_started: queue(Function::CallStarted)?,
            call_ended: queue(Function::CallEnded)?,
            transcript: queue(Function::Transcript)?,
            end_of_call_report: queue(Function::EndOfCallReport)?,
        })
    }

    /// Sends a delivery to the queue of its function, with the code of its failure. It is durable when this returns.
    pub async fn send(&self, delivery: &Delivery, code: Option<FailureCode>) -> Result<(), QueueError> {
        let function = delivery.event.function();
        match envelope::seal(delivery) {
            Ok(Sealed::Fits(message)) => self.of(function).send_text(message, code).await,
            Ok(Sealed::Oversize(envelope)) => {
                let park = ParkRequest::new(delivery, envelope, code);
                self.handover.park(function, &park).await.map_err(QueueError)
            }
            Err(error) => {
                let (event_key, code) = (delivery.key.as_str(), FailureCode::EventTooLarge);
                tracing::error!(event.key = event_key, failure.code = %code, %error, "an event cannot be queued");
                Err(QueueError(code))
            }
        }
    }

    fn of(&self, function: Function) -> &Queue {
        match function {
            Function::CallStarted => &self.call_started,
            Function::CallEnded => &self.call_ended,
            Function::Transcript => &self.transcript,
            Function::EndOfCallReport => &self.end_of_call_report,
        }
    }
}
