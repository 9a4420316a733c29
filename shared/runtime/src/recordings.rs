//! The queue of recordings. A message names a recording to fetch; its row holds everything else, so maintenance can resend a lost message.

use std::time::Duration;

use aws_sdk_sqs::Client;
use ringfence_aws::{Queue, QueueError};
use ringfence_protocol::{Recording, RecordingMessage};
use ringfence_vapi::{Event, FailureCode, OrgId};

use crate::configuration::{Environment, Misconfigured};
use crate::envelope::EnvelopeError;
use crate::metrics::{Counts, Metric};
use crate::queues::named_queue;

/// The function behind the queue, as its queues and failed operations name it.
pub const RECORDING_UPLOAD: &str = "recording-upload";
/// The sender of the webhook waits this long at most.
const SEND_TIMEOUT: Duration = Duration::from_millis(200);

/// Sends the messages.
#[derive(Clone)]
pub struct RecordingQueue(Queue);

impl RecordingQueue {
    /// The queue of the function `recording-upload`.
    pub fn from_environment(environment: &Environment<'_>, client: &Client) -> Result<Self, Misconfigured> {
        Ok(Self(named_queue(environment, client, RECORDING_UPLOAD)?))
    }

    /// Sends a message for each recording that an applied event names.
    pub async fn announce(&self, org_id: OrgId, event: &Event, counts: &mut Counts) {
        let call_id = &event.call().id;
        let recordings = event.recordings().iter();
        let recordings: Vec<_> =
            recordings.map(|kind| Recording { org_id, call_id: call_id.clone(), kind: *kind }).collect();
        if recordings.is_empty() {
            return;
        }
        let count = recordings.len() as u64;
        // The first request of an environment has to connect and may take longer. It continues in the background.
        let queue = self.clone();
        let sending = tokio::spawn(async move { queue.send(&recordings).await });
        let sent = tokio::time::timeout(SEND_TIMEOUT, sending).await;
        let is_sent = matches!(sent, Ok(Ok(Ok(()))));
        let metric = if is_sent { Metric::RecordingQueued } else { Metric::RecordingUnannounced };
        counts.add(metric, count);
        if !is_sent {
            let code = FailureCode::QueueUnavailable;
            tracing::warn!(org.id = %org_id, call.id = %call_id, failure.code = %code, "recordings were not queued in time");
        }
    }

    /// Sends messages, ten per request.
    pub async fn send(&self, recordings: &[Recording]) -> Result<(), QueueError> {
        let texts: Vec<_> = recordings.iter().filter_map(|recording| text(recording.clone())).collect();
        self.0.send_texts(&texts).await
    }
}

fn text(recording: Recording) -> Option<String> {
    serde_json::to_string(&RecordingMessage::Fetch { recording }).ok()
}

/// The recording that a message asks for.
pub fn read(message: &str) -> Result<Recording, EnvelopeError> {
    let RecordingMessage::Fetch { recording } = serde_json::from_str(message).map_err(|_| EnvelopeError::Unreadable)?;
    Ok(recording)
}
