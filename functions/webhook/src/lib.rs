//! The door: every Vapi webhook comes in here. It verifies the sender over the raw bytes, parses, runs the event's handler
//! in process and answers. 2xx for a stored event means that it is committed in the database or accepted by its retry queue.

use std::sync::Arc;

use jiff::Timestamp;
use lambda_http::http::{Response, StatusCode};
use lambda_http::{Body, Request, RequestExt as _};
use ringfence_core::error::Failure;
use ringfence_core::{Database, Delivery, FailedAttempt, Outcome, live};
use ringfence_edge::consumer::caught;
use ringfence_edge::metrics::{Counts, Metric};
use ringfence_edge::problem::{answer, problem, status_of};
use ringfence_edge::report::{Facts, metric};
use ringfence_edge::{Authenticator, Pusher, Raw, RetryQueues, Verified};
use ringfence_vapi::{
    FailureCode, Function, Message, OrgId, PartialTranscript, StoredEvent, nothing_configured, parse,
};
use serde_json::{Value, json};

/// The largest body. Lambda takes requests of 6 MB with the body escaped as a JSON text inside, which leaves about 4.5 MB; anything
/// near this came another way.
const MAX_BODY_BYTES: usize = 5 * 1024 * 1024;

/// The function's name in `failed_attempts`.
const NAME: &str = "webhook";

/// What the door needs to answer a webhook.
pub struct Door {
    authenticator: Authenticator,
    database: Arc<Database>,
    queues: RetryQueues,
    pusher: Pusher,
}

/// An answer, or why there is none but an error.
type Answer = Result<Value, Refusal>;

/// A failure with the words that the sender reads.
struct Refusal {
    code: FailureCode,
    detail: String,
}

impl Refusal {
    fn new(code: FailureCode, detail: &impl ToString) -> Self {
        Self { code, detail: detail.to_string() }
    }
}

impl Door {
    /// A door that verifies with `authenticator`, applies to `database`, falls back to `queues` and tells viewers by `pusher`.
    #[must_use]
    pub fn new(authenticator: Authenticator, database: Arc<Database>, queues: RetryQueues, pusher: Pusher) -> Self {
        Self { authenticator, database, queues, pusher }
    }

    /// Answers one webhook.
    pub async fn answer(&self, request: Request) -> Response<Body> {
        let mut counts = Counts::default();
        counts.add(Metric::Received, 1);
        let result = self.receive(&request, &mut counts).await;
        let response = match result {
            Ok(body) => answer(StatusCode::OK, &body),
            Err(Refusal { code, detail }) => {
                let is_not_taken = status_of(code) == StatusCode::SERVICE_UNAVAILABLE;
                counts.add(if is_not_taken { Metric::NotTaken } else { Metric::Refused }, 1);
                counts.field("failure.code", code.to_string());
                tracing::warn!(org.id = named_org(&request), failure.code = %code, detail, "webhook refused");
                problem(code, &detail)
            }
        };
        counts.emit();
        response
    }

    async fn receive(&self, request: &Request, counts: &mut Counts) -> Answer {
        let path = request.path_parameters();
        let query = request.query_string_parameters();
        let raw = Raw {
            org: path.first("org_id"),
            headers: request.headers(),
            key_version: query.first("v"),
            body: request.body(),
            received_at: Timestamp::now(),
        };
        if raw.body.len() > MAX_BODY_BYTES {
            return Err(Refusal::new(FailureCode::BodyTooLarge, &"the body is larger than 5 MiB"));
        }
        let verified =
            self.authenticator.verify(&raw).map_err(|error| Refusal::new(FailureCode::Unauthorised, &error))?;
        self.dispatch(&verified, counts).await
    }

    async fn dispatch(&self, verified: &Verified<'_>, counts: &mut Counts) -> Answer {
        let parsed =
            parse(verified.body(), verified.received_at()).map_err(|error| Refusal::new(error.code(), &error))?;
        counts.field("message.type", parsed.message_type.as_str());
        if !parsed.unreadable.is_empty() {
            counts.add(Metric::UnreadableFields, parsed.unreadable.len() as u64);
            counts.field("message.unreadable", parsed.unreadable);
        }
        match parsed.message {
            Message::Stored(stored) => self.store(verified, stored, counts).await,
            Message::Interactive(request) => Ok(nothing_configured(&request)),
            Message::NotServed => Err(Refusal::new(
                FailureCode::NotServed,
                &"voice requests are not served here: configure a voice provider",
            )),
            Message::Partial(partial) => {
                self.show(verified, partial, counts).await;
                Ok(json!({}))
            }
            Message::Informational => Ok(json!({})),
            Message::Unknown => {
                counts.add(Metric::UnknownMessage, 1);
                Ok(json!({}))
            }
        }
    }

    async fn store(&self, verified: &Verified<'_>, stored: StoredEvent, counts: &mut Counts) -> Answer {
        let mut delivery = Delivery::new(verified.credential(), stored, verified.received_at());
        let facts = Facts::of(&delivery);
        let result = caught(handle(&self.database, &delivery)).await;
        facts.log(&result);
        match result {
            Ok(Outcome::Revoked) => Err(Refusal::new(FailureCode::Unauthorised, &ringfence_edge::auth::Unauthorised)),
            Ok(outcome) => {
                counts.add(metric(&outcome), 1);
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
        match self.queues.send(delivery, code).await {
            Ok(()) => {
                counts.add(Metric::Queued, 1);
                counts.field("failure.code", code.to_string());
                Ok(json!({}))
            }
            Err(error) => {
                Err(Refusal::new(error.0, &"neither the database nor the queue took the event: send it again"))
            }
        }
    }
}

/// The org that the path names, for the log: a key that stopped to fit is found by it. Only if it is an id, since anybody can
/// post anything here.
fn named_org(request: &Request) -> Option<String> {
    let path = request.path_parameters();
    let org: OrgId = path.first("org_id")?.parse().ok()?;
    Some(org.to_string())
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
