//! The queues of each function, by the names of their environment variables.

use aws_sdk_sqs::Client;
use ringfence_aws::Queue;
use ringfence_vapi::Function;
use strum::IntoEnumIterator as _;

use crate::configuration::{Environment, Misconfigured};

pub(crate) const BROADCAST_QUEUE: &str = "BROADCAST_QUEUE_URL";

/// The two queues of an event function.
#[derive(Clone)]
pub struct FunctionQueues {
    pub retries: Queue,
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
pub(crate) fn named_queue(
    environment: &Environment<'_>,
    client: &Client,
    function: Function,
    suffix: &str,
) -> Result<Queue, Misconfigured> {
    let name = format!("{}_{suffix}", function.as_str().to_uppercase().replace('-', "_"));
    Ok(Queue::new(client.clone(), environment.required(&name)?))
}
