//! The retry queues of the event functions, for the functions that receive webhooks.

use aws_sdk_sqs::Client;
use aws_types::SdkConfig;
use ringfence_aws::{Queue, QueueError};
use ringfence_protocol::{Delivery, ParkRequest};
use ringfence_vapi::{FailureCode, Function};

use crate::codes::Coded;
use crate::configuration::{Environment, Misconfigured};
use crate::envelope::{self, EnvelopeError, Sealed};
use crate::handover::{Handover, HandoverError};
use crate::queues::named_queue;

/// A retry queue did not take an event.
#[derive(Debug, thiserror::Error)]
pub enum RetryQueueError {
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Handover(#[from] HandoverError),
}

impl Coded for RetryQueueError {
    fn code(&self) -> FailureCode {
        match self {
            // The delivery was made here, so all that can be wrong with it is its size.
            Self::Envelope(_) => FailureCode::EventTooLarge,
            Self::Queue(error) => error.code(),
            Self::Handover(error) => error.code(),
        }
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
        Self::from_environment(environment, &Client::new(aws), Handover::from_environment(environment, aws))
    }

    /// The queues at `QUEUE_URL_PREFIX`.
    pub fn from_environment(
        environment: &Environment<'_>,
        client: &Client,
        handover: Handover,
    ) -> Result<Self, Misconfigured> {
        let queue = |function: Function| named_queue(environment, client, function.as_str());
        Ok(Self {
            handover,
            call_started: queue(Function::CallStarted)?,
            call_ended: queue(Function::CallEnded)?,
            transcript: queue(Function::Transcript)?,
            end_of_call_report: queue(Function::EndOfCallReport)?,
        })
    }

    /// Sends a delivery to the queue of its function, with the code of its failure. It is durable when this returns.
    pub async fn send(&self, delivery: &Delivery, code: Option<FailureCode>) -> Result<(), RetryQueueError> {
        let function = delivery.event.function();
        match envelope::seal(delivery)? {
            Sealed::Fits(message) => self.of(function).send_text(message, code).await?,
            Sealed::Oversize(envelope) => {
                let park = ParkRequest::new(delivery, envelope, code);
                self.handover.park(function, &park).await?;
            }
        }
        Ok(())
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
