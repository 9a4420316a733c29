//! The queue of recordings: a message says that there is one to fetch. What is needed for it stands in its row, so that a message that
//! was lost loses nothing; maintenance sends it again.

use std::time::Duration;

use aws_sdk_sqs::Client;
use ringfence_core::{Outcome, Recording};
use ringfence_vapi::{Event, FailureCode};
use serde::{Deserialize, Serialize};

use crate::configuration::{Environment, Misconfigured};
use crate::metrics::{Counts, Metric};
use crate::queue::{FunctionQueues, Queue, QueueError};

/// What works off the queue, as failed operations name it.
pub const RECORDING_UPLOAD: &str = "recording-upload";
/// The longest that the sender of a webhook waits for the queue.
const PATIENCE: Duration = Duration::from_millis(200);

/// A queue message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "v")]
pub enum RecordingMessage {
    /// There is this recording to fetch.
    #[serde(rename = "1")]
    Fetch {
        /// Which.
        recording: Recording,
    },
}

/// Asks for recordings.
#[derive(Clone)]
pub struct RecordingQueue(Queue);

impl RecordingQueue {
    /// The queue in `RECORDING_UPLOAD_QUEUE_URL`.
    pub fn from_environment(environment: &Environment<'_>, client: &Client) -> Result<Self, Misconfigured> {
        Ok(Self(Queue::new(client.clone(), environment.required("RECORDING_UPLOAD_QUEUE_URL")?)))
    }

    /// Asks for the recordings that an event names, if it has just been applied.
    pub async fn announce(&self, outcome: &Outcome, event: &Event, counts: &mut Counts) {
        let Outcome::Applied { org_id, .. } = outcome else { return };
        let (org_id, call_id) = (*org_id, &event.call().id);
        let recordings = event.recordings().iter();
        let recordings: Vec<_> =
            recordings.map(|kind| Recording { org_id, call_id: call_id.clone(), kind: *kind }).collect();
        if recordings.is_empty() {
            return;
        }
        let count = recordings.len() as u64;
        // A request that takes longer goes on, as long as this environment does: the first one of an environment has to connect.
        let queue = self.clone();
        let sending = tokio::spawn(async move { queue.send(&recordings).await });
        let sent = tokio::time::timeout(PATIENCE, sending).await;
        let is_sent = matches!(sent, Ok(Ok(Ok(()))));
        let metric = if is_sent { Metric::RecordingQueued } else { Metric::RecordingUnannounced };
        counts.add(metric, count);
        if !is_sent {
            let code = FailureCode::QueueUnavailable;
            tracing::warn!(org.id = %org_id, call.id = %call_id, failure.code = %code, "recordings may wait for maintenance");
        }
    }

    /// Asks for recordings, in one request for ten of them.
    pub async fn send(&self, recordings: &[Recording]) -> Result<(), QueueError> {
        let texts: Vec<_> = recordings.iter().filter_map(|recording| text(recording.clone())).collect();
        self.0.send_texts(&texts).await
    }
}

fn text(recording: Recording) -> Option<String> {
    serde_json::to_string(&RecordingMessage::Fetch { recording }).ok()
}

/// The recording that a message asks for.
pub fn read(message: &str) -> Result<Recording, FailureCode> {
    match serde_json::from_str(message) {
        Ok(RecordingMessage::Fetch { recording }) => Ok(recording),
        Err(_) => Err(FailureCode::EventUnreadable),
    }
}

impl FunctionQueues {
    /// The queues of recordings, in `RECORDING_UPLOAD_QUEUE_URL` and `RECORDING_UPLOAD_DLQ_URL`.
    pub fn of_recordings(environment: &Environment<'_>, client: &Client) -> Result<Self, Misconfigured> {
        Ok(Self {
            retries: Queue::new(client.clone(), environment.required("RECORDING_UPLOAD_QUEUE_URL")?),
            dead_letters: Queue::new(client.clone(), environment.required("RECORDING_UPLOAD_DLQ_URL")?),
        })
    }
}

#[cfg(test)]
mod tests {
    use ringfence_vapi::RecordingKind;

    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let recording = Recording {
            org_id: "8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11".parse().unwrap(),
            call_id: "c1".parse().unwrap(),
            kind: RecordingKind::Stereo,
        };
        let text = text(recording.clone()).unwrap();
        assert_eq!(
            text,
            r#"{"v":"1","recording":{"org_id":"8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11","call_id":"c1","kind":"stereo"}}"#
        );
        assert_eq!(read(&text), Ok(recording));
        for text in ["", "{}", r#"{"v":"9"}"#, r#"{"v":"1","recording":{"org_id":"x","call_id":"c1","kind":"mono"}}"#] {
            assert_eq!(read(text), Err(FailureCode::EventUnreadable), "{text}");
        }
    }
}
