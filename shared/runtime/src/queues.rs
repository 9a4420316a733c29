//! The queues of each function, by the names that the environment gives them.

use aws_sdk_sqs::Client;
use ringfence_aws::{Queue, QueueError};
use ringfence_protocol::{Delivery, ParkRequest};
use ringfence_vapi::{FailureCode, Function};
use strum::IntoEnumIterator as _;

use crate::codes::Coded;
use crate::configuration::{Environment, Misconfigured};
use crate::envelope::{self, EnvelopeError, Sealed};
#[cfg(feature = "handover")]
use crate::handover::{Handover, HandoverError};

/// What names the queue of broadcasts in the environment.
pub(crate) const BROADCAST_QUEUE: &str = "BROADCAST_QUEUE_URL";

/// The two queues of an event function.
#[derive(Clone)]
pub struct FunctionQueues {
    /// Where its events wait to be tried again.
    pub retries: Queue,
    /// Where what can never apply ends.
    pub dead_letters: Queue,
}

impl FunctionQueues {
    /// The queues in `CALL_STARTED_QUEUE_URL` and `CALL_STARTED_DLQ_URL`, say.
    pub fn from_environment(
        environment: &Environment<'_>,
        client: &Client,
        function: Function,
    ) -> Result<Self, Misconfigured> {
        Ok(Self {
            retries: named_queue(environment, client, function, "QUEUE_URL")?,
            dead_letters: named_queue(environment, client, function, "DLQ_URL")?,
        })
    }
}

#[cfg(feature = "handover")]
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

#[cfg(feature = "handover")]
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

#[cfg(feature = "handover")]
/// The retry queue of every event function, for the webhook function, and the way there for what is too large for a message.
pub struct RetryQueues {
    handover: Handover,
    call_started: Queue,
    call_ended: Queue,
    transcript: Queue,
    end_of_call_report: Queue,
}

impl RetryQueues {
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

    /// Hands a delivery over to the queue of its function, with the reason why it has to wait, if there is one. Once this returns, it
    /// is kept.
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

    /// The queue on which a function's events wait.
    fn of(&self, function: Function) -> &Queue {
        match function {
            Function::CallStarted => &self.call_started,
            Function::CallEnded => &self.call_ended,
            Function::Transcript => &self.transcript,
            Function::EndOfCallReport => &self.end_of_call_report,
        }
    }
}

impl FunctionQueues {
    /// The queues of broadcasts, in `BROADCAST_QUEUE_URL` and `BROADCAST_DLQ_URL`.
    pub fn of_broadcasts(environment: &Environment<'_>, client: &Client) -> Result<Self, Misconfigured> {
        Ok(Self {
            retries: Queue::new(client.clone(), environment.required(BROADCAST_QUEUE)?),
            dead_letters: Queue::new(client.clone(), environment.required("BROADCAST_DLQ_URL")?),
        })
    }

    /// The queues of recordings, in `RECORDING_UPLOAD_QUEUE_URL` and `RECORDING_UPLOAD_DLQ_URL`.
    pub fn of_recordings(environment: &Environment<'_>, client: &Client) -> Result<Self, Misconfigured> {
        Ok(Self {
            retries: Queue::new(client.clone(), environment.required("RECORDING_UPLOAD_QUEUE_URL")?),
            dead_letters: Queue::new(client.clone(), environment.required("RECORDING_UPLOAD_DLQ_URL")?),
        })
    }
}

impl FunctionQueues {
    /// Every queue, by the name of its function; dead letters by `{function}-dead-letters`.
    pub fn all_named(environment: &Environment<'_>, client: &Client) -> Result<Vec<(String, Queue)>, Misconfigured> {
        let mut named = Vec::new();
        let mut add = |name: &str, queues: Self| {
            named.push((name.to_owned(), queues.retries));
            named.push((format!("{name}-dead-letters"), queues.dead_letters));
        };
        for function in Function::iter() {
            add(function.as_str(), Self::from_environment(environment, client, function)?);
        }
        add("recording-upload", Self::of_recordings(environment, client)?);
        add("broadcast-retry", Self::of_broadcasts(environment, client)?);
        Ok(named)
    }
}

/// The queue in `{FUNCTION}_{suffix}`: `CALL_STARTED_QUEUE_URL`, `CALL_STARTED_DLQ_URL`.
fn named_queue(
    environment: &Environment<'_>,
    client: &Client,
    function: Function,
    suffix: &str,
) -> Result<Queue, Misconfigured> {
    let name = format!("{}_{suffix}", function.as_str().to_uppercase().replace('-', "_"));
    Ok(Queue::new(client.clone(), environment.required(&name)?))
}
