//! The queues of each function. Their names are fixed: that of the function, and `{function}-dlq`.

use aws_sdk_sqs::Client;
use ringfence_aws::Queue;
use ringfence_vapi::Function;
use strum::IntoEnumIterator as _;

use crate::configuration::{Environment, Misconfigured};
use crate::recordings::RECORDING_UPLOAD;

/// The function behind the queue of broadcasts.
pub const BROADCAST_RETRY: &str = "broadcast-retry";

/// The two queues of a function.
#[derive(Clone)]
pub struct FunctionQueues {
    pub retries: Queue,
    pub dead_letters: Queue,
}

impl FunctionQueues {
    /// The queues of an event function.
    pub fn from_environment(
        environment: &Environment<'_>,
        client: &Client,
        function: Function,
    ) -> Result<Self, Misconfigured> {
        Self::of(environment, client, function.as_str())
    }

    /// The queues of broadcasts.
    pub fn of_broadcasts(environment: &Environment<'_>, client: &Client) -> Result<Self, Misconfigured> {
        Self::of(environment, client, BROADCAST_RETRY)
    }

    /// The queues of recordings.
    pub fn of_recordings(environment: &Environment<'_>, client: &Client) -> Result<Self, Misconfigured> {
        Self::of(environment, client, RECORDING_UPLOAD)
    }

    fn of(environment: &Environment<'_>, client: &Client, function: &str) -> Result<Self, Misconfigured> {
        Ok(Self {
            retries: named_queue(environment, client, function)?,
            dead_letters: named_queue(environment, client, &format!("{function}-dlq"))?,
        })
    }
}

impl FunctionQueues {
    /// Every queue, by the name of its function; dead letters by `{function}-dead-letters`.
    pub fn all_named(environment: &Environment<'_>, client: &Client) -> Result<Vec<(String, Queue)>, Misconfigured> {
        let mut named = Vec::new();
        for (function, queues) in Self::all(environment, client)? {
            named.push((function.to_owned(), queues.retries));
            named.push((format!("{function}-dead-letters"), queues.dead_letters));
        }
        Ok(named)
    }

    /// Every dead-letter queue, by the name of its function.
    pub fn all_dead_letters(
        environment: &Environment<'_>,
        client: &Client,
    ) -> Result<Vec<(String, Queue)>, Misconfigured> {
        let all = Self::all(environment, client)?;
        Ok(all.into_iter().map(|(function, queues)| (function.to_owned(), queues.dead_letters)).collect())
    }

    /// The queues of every function that has some.
    fn all(environment: &Environment<'_>, client: &Client) -> Result<Vec<(&'static str, Self)>, Misconfigured> {
        let functions = Function::iter().map(Function::as_str).chain([RECORDING_UPLOAD, BROADCAST_RETRY]);
        functions.map(|function| Ok((function, Self::of(environment, client, function)?))).collect()
    }
}

/// The queue with this name, at `QUEUE_URL_PREFIX`.
pub(crate) fn named_queue(environment: &Environment<'_>, client: &Client, name: &str) -> Result<Queue, Misconfigured> {
    Ok(Queue::new(client.clone(), environment.queue_url(name)?))
}
