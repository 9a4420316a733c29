//! The door: every Vapi webhook comes in here. It verifies the sender over the raw bytes, parses, runs the event's handler
//! in process and answers. 2xx for a stored event means that it is committed in the database or accepted by its retry queue.

use std::sync::Arc;

use assistant_request::Answers;
use jiff::Timestamp;
use lambda_http::http::Response;
use lambda_http::{Body, Request};
use ringfence_core::error::Failure;
use ringfence_core::{Database, Delivery, FailedAttempt, Outcome, live};
use ringfence_edge::auth::Unauthorised;
use ringfence_edge::consumer::caught;
use ringfence_edge::metrics::{Counts, Metric};
use ringfence_edge::reception::{conclude, receive};
use ringfence_edge::report::{Facts, metric};
use ringfence_edge::route::{Respond as _, not_served};
use ringfence_edge::sentry;
use ringfence_edge::{Answer, Authenticator, Pusher, RecordingQueue, Refusal, RetryQueues, Sealer, Verified};
use ringfence_vapi::interactive::{Interactive, Question};
use ringfence_vapi::{FailureCode, Function, Message, PartialTranscript, StoredEvent};
use serde_json::json;
use tool_calls::Tools;

/// The function's name in `failed_attempts`.
const NAME: &str = "webhook";

/// What the door needs to answer a webhook.
pub struct Door {
    /// Who may come in.
    pub authenticator: Authenticator,
    /// Where events are applied.
    pub database: Arc<Database>,
    /// Where they wait otherwise.
    pub queues: RetryQueues,
    /// Who tells viewers.
    pub pusher: Pusher,
    /// Who seals links to recordings.
    pub sealer: Sealer,
    /// Who asks for recordings.
    pub recordings: RecordingQueue,
    /// Who answers Vapi's questions.
    pub answers: Answers,
    /// Who executes tool calls.
    pub tools: Tools,
}

impl Door {
    /// Answers one webhook.
    pub async fn answer(&self, request: Request) -> Response<Body> {
        let mut counts = Counts::default();
        let result = self.receive(&request, &mut counts).await;
        let response = conclude(&request, result, counts);
        sentry::flush().await;
        response
    }

    async fn receive(&self, request: &Request, counts: &mut Counts) -> Answer {
        let (verified, message) = receive(&self.authenticator, request, counts)?;
        match message {
            Message::Stored(stored) => self.store(&verified, stored, counts).await,
            Message::Interactive(message) => self.interact(&verified, &message, counts).await,
            Message::NotServed => Err(not_served()),
            Message::Partial(partial) => {
                self.show(&verified, partial, counts).await;
                Ok(json!({}))
            }
            Message::Informational => Ok(json!({})),
            Message::Unknown => {
                counts.add(Metric::UnknownMessage, 1);
                Ok(json!({}))
            }
        }
    }

    async fn interact(&self, verified: &Verified<'_>, message: &Interactive, counts: &mut Counts) -> Answer {
        match &message.question {
            Question::Assistant | Question::Inquiry(_) => self.answers.answer(verified, message, counts).await,
            Question::ToolCalls(_) | Question::FunctionCall(_) => self.tools.answer(verified, message, counts).await,
        }
    }

    async fn store(&self, verified: &Verified<'_>, stored: StoredEvent, counts: &mut Counts) -> Answer {
        let mut delivery = self.sealer.delivery(verified, stored);
        let facts = Facts::of(&delivery);
        let result = caught(handle(&self.database, &delivery)).await;
        facts.log(&result);
        match result {
            Ok(Outcome::Revoked) => Err(Unauthorised.into()),
            Ok(outcome) => {
                counts.add(metric(&outcome), 1);
                self.recordings.announce(&outcome, &delivery.event, counts).await;
                if let Outcome::Applied { org_id, sequence, viewers } = &outcome {
                    self.pusher.event(*org_id, *sequence, viewers, &delivery, counts).await;
                }
                Ok(json!({}))
            }
            Err(failure) => {
                delivery.failures.push(FailedAttempt::new(NAME, &failure, Timestamp::now()));
                self.queue(&delivery, failure.code, counts).await
            }
        }
    }

    /// Shows viewers what is being said. It is stored nowhere, so a failure loses nothing: the final transcript follows.
    async fn show(&self, verified: &Verified<'_>, partial: PartialTranscript, counts: &mut Counts) {
        let (credential, received_at) = (verified.credential(), verified.received_at());
        let passed = caught(live::pass_partial(&self.database, credential, &partial.call, received_at)).await;
        match passed {
            Ok(Some((org, viewers))) => self.pusher.partial(org, &viewers, &partial, received_at, counts).await,
            Ok(None) => {}
            Err(failure) => tracing::warn!(failure.code = %failure.code, "a partial transcript was not shown"),
        }
    }

    /// What could not be applied waits in its function's queue, whatever the reason: also an event that can never apply
    /// has a place there and then in the dead-letter queue, where people find it.
    async fn queue(&self, delivery: &Delivery, code: FailureCode, counts: &mut Counts) -> Answer {
        match self.queues.send(delivery, Some(code)).await {
            Ok(()) => {
                counts.add(Metric::Queued, 1);
                counts.field("failure.code", code.to_string());
                counts.failed(code);
                Ok(json!({}))
            }
            Err(error) => {
                Err(Refusal::new(error.0, &"neither the database nor the queue took the event: send it again"))
            }
        }
    }
}

/// The handler of the event's function, in this process: a second hop would cost time and could fail.
async fn handle(database: &Database, delivery: &Delivery) -> Result<Outcome, Failure> {
    match delivery.event.function() {
        Function::CallStarted => call_started::handle(database, delivery).await,
        Function::CallEnded => call_ended::handle(database, delivery).await,
        Function::Transcript => transcript::handle(database, delivery).await,
        Function::EndOfCallReport => end_of_call_report::handle(database, delivery).await,
    }
}
