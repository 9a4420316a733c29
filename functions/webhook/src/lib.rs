//! The webhook function: receives every Vapi webhook. It verifies the sender over the raw bytes, parses the message, runs the event
//! pipeline in process and answers. 2xx for a stored event means that it is committed in the database or accepted by its retry queue.

use assistant_request::Answers;
use jiff::Timestamp;
use ringfence_core::{Failure, Outcome, live};
use ringfence_identity::{DeliverySealer, Unauthorised, Verified};
use ringfence_protocol::Delivery;
use ringfence_runtime::metrics::{Counts, Metric};
use ringfence_runtime::reception::Handler;
use ringfence_runtime::route::{Respond as _, not_served};
use ringfence_runtime::trace::traced;
use ringfence_runtime::{Answer, Coded as _, Pipeline, Quarantine, Refusal, RetryQueues, catch_panics};
use ringfence_vapi::interactive::{Interactive, Question};
use ringfence_vapi::{Message, PartialTranscript, StoredEvent};
use serde_json::json;
use tool_calls::Tools;

/// The function's name in `failed_attempts`.
const NAME: &str = "webhook";

/// Handles webhooks.
pub struct Webhook {
    pub pipeline: Pipeline,
    /// Where an event waits that could not be applied.
    pub queues: RetryQueues,
    pub sealer: DeliverySealer,
    pub quarantine: Quarantine,
    pub answers: Answers,
    pub tools: Tools,
}

impl Handler for Webhook {
    async fn handle(&self, verified: &Verified<'_>, message: Message, counts: &mut Counts) -> Answer {
        match message {
            Message::Stored(stored) => return self.store(verified, stored, counts).await,
            Message::Interactive(message) => return self.respond(verified, &message, counts).await,
            Message::NotServed => return Err(not_served()),
            Message::Partial(partial) => self.push(verified, partial, counts).await,
            Message::Informational => {}
            Message::Unknown(message) => return self.quarantine.retain(verified, message, counts).await,
        }
        Ok(json!({}))
    }
}

impl Webhook {
    async fn respond(&self, verified: &Verified<'_>, message: &Interactive, counts: &mut Counts) -> Answer {
        match &message.question {
            Question::Assistant | Question::Inquiry(_) => self.answers.answer(verified, message, counts).await,
            Question::ToolCalls(_) | Question::FunctionCall(_) => self.tools.answer(verified, message, counts).await,
        }
    }

    async fn store(&self, verified: &Verified<'_>, stored: StoredEvent, counts: &mut Counts) -> Answer {
        let delivery = traced(self.sealer.delivery(verified, stored));
        match self.pipeline.apply(&delivery, counts).await {
            Ok(Outcome::Revoked) => Err(Unauthorised.into()),
            Ok(_) => Ok(json!({})),
            Err(failure) => self.spill(delivery, &failure, counts).await,
        }
    }

    /// Pushes a partial transcript to viewers. It is not stored, so a failure loses nothing: the final transcript follows.
    async fn push(&self, verified: &Verified<'_>, partial: PartialTranscript, counts: &mut Counts) {
        let (credential, received_at) = (verified.credential(), verified.received_at());
        let Pipeline { store: database, pusher, .. } = &self.pipeline;
        match catch_panics(live::throttle_partial(database, credential, &partial.call, received_at)).await {
            Ok(Some((org, viewers))) => pusher.partial(org, &viewers, &partial, received_at, counts).await,
            Ok(None) => {}
            Err(failure) => tracing::warn!(failure.code = %failure.code, "a partial transcript was not pushed"),
        }
    }

    /// Sends an event that could not be applied to its retry queue, whatever the failure. An event that can never apply is moved from
    /// there to the dead-letter queue.
    async fn spill(&self, mut delivery: Delivery, failure: &Failure, counts: &mut Counts) -> Answer {
        delivery.failures.push(failure.attempt(NAME, Timestamp::now()));
        let sent = self.queues.send(&delivery, Some(failure.code)).await;
        sent.map_err(|error| {
            tracing::error!(event.key = delivery.key.as_str(), %error, "an event could not be queued");
            Refusal::new(error.code(), &"neither the database nor the queue accepted the event: send it again")
        })?;
        counts.add(Metric::Queued, 1);
        counts.field("failure.code", failure.code.to_string());
        counts.failed(failure.code);
        Ok(json!({}))
    }
}
