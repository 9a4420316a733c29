//! The interactive functions' own routes. Phone numbers and tools can have a server URL of their own; then Vapi posts their messages
//! past the door.

use std::future::Future;

use lambda_http::http::Response;
use lambda_http::{Body, Request};
use ringfence_identity::{Authenticator, Sealer, Verified};
use ringfence_vapi::interactive::Interactive;
use ringfence_vapi::{FailureCode, Message, nothing_configured};
use serde_json::json;

use crate::codes::Coded as _;
use crate::metrics::{Counts, Metric};
use crate::reception::{Answer, Refusal, conclude, receive};
use crate::retry_queues::RetryQueues;
use crate::sentry;
use crate::trace::traced;

/// Answers interactive messages.
pub trait Respond {
    /// Answers one that is its own, and any other as if nothing were configured.
    fn answer(
        &self,
        verified: &Verified<'_>,
        message: &Interactive,
        counts: &mut Counts,
    ) -> impl Future<Output = Answer> + Send;
}

/// A function's own route.
pub struct Route<R> {
    authenticator: Authenticator,
    queues: RetryQueues,
    sealer: Sealer,
    responder: R,
}

impl<R: Respond> Route<R> {
    /// Verifies with `authenticator` and answers by `responder`; what belongs to an event function waits in `queues`, its links sealed.
    #[must_use]
    pub fn new(authenticator: Authenticator, queues: RetryQueues, sealer: Sealer, responder: R) -> Self {
        Self { authenticator, queues, sealer, responder }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request) -> Response<Body> {
        let mut counts = Counts::default();
        let result = self.respond(&request, &mut counts).await;
        let response = conclude(&request, result, counts);
        sentry::flush().await;
        response
    }

    /// A message that is not interactive came to the wrong URL, but is not lost for that.
    async fn respond(&self, request: &Request, counts: &mut Counts) -> Answer {
        let (verified, message) = receive(&self.authenticator, request, counts)?;
        match message {
            Message::Interactive(message) => return self.responder.answer(&verified, &message, counts).await,
            Message::Stored(stored) => {
                let delivery = traced(self.sealer.delivery(&verified, stored));
                self.queues.send(&delivery, None).await.map_err(|error| {
                    tracing::error!(event.key = delivery.key.as_str(), %error, "an event could not be queued");
                    Refusal::new(
                        error.code(),
                        &"the queue did not take the event: send it to the webhook URL, or again",
                    )
                })?;
                counts.add(Metric::Queued, 1);
            }
            Message::NotServed => return Err(not_served()),
            Message::Partial(_) | Message::Informational => {}
            Message::Unknown => counts.add(Metric::UnknownMessage, 1),
        }
        Ok(json!({}))
    }
}

/// The refusal of a message whose answer is raw audio.
#[must_use]
pub fn not_served() -> Refusal {
    Refusal::new(FailureCode::NotServed, &"voice requests are not served here: configure a voice provider")
}

/// The answer of a function that is asked what another one answers.
pub fn wrong_route(message: &Interactive) -> Answer {
    tracing::warn!("an interactive message came to the route of another: it is answered as if nothing were configured");
    Ok(nothing_configured(message))
}
