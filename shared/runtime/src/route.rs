//! The routes of the interactive functions. A phone number or a tool can have a server URL of its own, to which Vapi then posts its
//! messages instead of the webhook URL.

use std::future::Future;

use lambda_http::http::Response;
use lambda_http::{Body, Request};
use ringfence_identity::{Authenticator, Sealer, Verified};
use ringfence_vapi::interactive::Interactive;
use ringfence_vapi::{FailureCode, Message, nothing_configured};
use serde_json::json;

use crate::metrics::{Counts, Metric};
use crate::queues::RetryQueues;
use crate::reception::{Answer, Refusal, conclude, receive};
use crate::sentry;
use crate::trace::traced;

/// Answers interactive messages.
pub trait Respond {
    /// Answers a message of its own kind; answers any other as if nothing were configured.
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
    /// `queues` receive stored events that were posted to this route.
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

    /// A stored event that was posted to the wrong URL is queued, not lost.
    async fn respond(&self, request: &Request, counts: &mut Counts) -> Answer {
        let (verified, message) = receive(&self.authenticator, request, counts)?;
        match message {
            Message::Interactive(message) => return self.responder.answer(&verified, &message, counts).await,
            Message::Stored(stored) => {
                let delivery = traced(self.sealer.delivery(&verified, stored));
                self.queues.send(&delivery, None).await.map_err(|error| {
                    Refusal::new(error.0, &"the queue did not accept the event: send it to the webhook URL, or again")
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

/// The answer to a message of another function.
pub fn wrong_route(message: &Interactive) -> Answer {
    tracing::warn!("an interactive message was posted to the route of another function");
    Ok(nothing_configured(message))
}
