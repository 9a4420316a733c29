//! The routes of the interactive functions. A phone number or a tool can have a server URL of its own, to which Vapi then posts its
//! messages instead of the webhook URL.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use lambda_http::Error;
use ringfence_core::Database;
use ringfence_egress::Endpoints;
use ringfence_identity::{DeliverySealer, Verified};
use ringfence_vapi::interactive::Interactive;
use ringfence_vapi::{FailureCode, Message, nothing_configured};
use serde_json::json;

use crate::codes::Coded as _;
use crate::configuration::Environment;
use crate::drift::{DriftCounter, Quarantine};
use crate::metrics::{Counts, Metric};
use crate::reception::{Answer, Handler, Reception, Refusal};
use crate::retry_queues::RetryQueues;
use crate::trace::traced;
use crate::{start, telemetry};

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

/// The handler of an interactive function's own route.
pub struct Route<R> {
    /// The queues of stored events that were posted to this route.
    pub queues: RetryQueues,
    pub sealer: DeliverySealer,
    pub quarantine: Quarantine,
    pub responder: R,
}

impl<R: Respond + Sync> Handler for Route<R> {
    /// A stored event that was posted to the wrong URL is queued, not lost.
    async fn handle(&self, verified: &Verified<'_>, message: Message, counts: &mut Counts) -> Answer {
        match message {
            Message::Interactive(message) => return self.responder.answer(verified, &message, counts).await,
            Message::Stored(stored) => {
                let delivery = traced(self.sealer.delivery(verified, stored));
                self.queues.send(&delivery, None).await.map_err(|error| {
                    tracing::error!(event.key = delivery.key.as_str(), %error, "an event could not be queued");
                    Refusal::new(
                        error.code(),
                        &"the queue did not accept the event: send it to the webhook URL, or again",
                    )
                })?;
                counts.add(Metric::Queued, 1);
            }
            Message::NotServed => return Err(not_served()),
            Message::Partial(_) | Message::Informational => {}
            Message::Unknown(message) => return self.quarantine.retain(verified, message, counts).await,
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

/// Runs an interactive function behind its own route.
pub async fn interactive_function<R: Respond + Sync>(
    responder: impl FnOnce(&Environment<'_>, Arc<Database>, Arc<Endpoints>) -> Result<R, Error>,
) -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let database = start::database(&environment)?;
    let responder = responder(&environment, Arc::clone(&database), start::endpoints(&environment)?)?;
    let queues = RetryQueues::connect(&environment, &environment.aws())?;
    let keys = environment.keys()?;
    let quarantine = Quarantine { database: Arc::clone(&database), sealer: keys.message_sealer()? };
    let handler = Route { queues, sealer: keys.delivery_sealer()?, quarantine, responder };
    let drift = DriftCounter::new(database);
    let reception = &Reception { authenticator: environment.org_authenticator()?, handler, drift };
    lambda_http::run(lambda_http::service_fn(
        |request| async move { Ok::<_, Infallible>(reception.answer(request).await) },
    ))
    .await
}
