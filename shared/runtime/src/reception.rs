//! The HTTP reception of Vapi's messages: verifies the sender over the raw bytes, parses the message, and counts and formats the answer.

use jiff::Timestamp;
use lambda_http::http::{Response, StatusCode};
use lambda_http::{Body, Request, RequestExt as _};
use ringfence_identity::{Authenticator, Raw, Unauthorised, Verified};
use ringfence_vapi::{FailureClass, FailureCode, Message, OrgId, parse};
use serde_json::Value;

use crate::metrics::{Counts, Metric};
use crate::problem::{answer, problem};
use crate::sentry;

/// The largest body. Lambda accepts requests of 6 MB with the body as an escaped JSON string, which leaves about 4.5 MB.
const MAX_BODY_BYTES: usize = 5 * 1024 * 1024;

/// The body of a 200, or a refusal.
pub type Answer = Result<Value, Refusal>;

/// A failure code with the detail that the sender reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    code: FailureCode,
    detail: String,
}

impl Refusal {
    /// `detail` holds nothing of the request.
    #[must_use]
    pub fn new(code: FailureCode, detail: &impl ToString) -> Self {
        Self { code, detail: detail.to_string() }
    }
}

impl From<Unauthorised> for Refusal {
    fn from(error: Unauthorised) -> Self {
        Self::new(FailureCode::Unauthorised, &error)
    }
}

/// Handles the messages that a [`Reception`] has verified and parsed.
pub trait Handler {
    /// The body of the response, or a refusal.
    fn handle(
        &self,
        verified: &Verified<'_>,
        message: Message,
        counts: &mut Counts,
    ) -> impl Future<Output = Answer> + Send;
}

/// The HTTP entry of every function that Vapi calls.
pub struct Reception<H> {
    pub authenticator: Authenticator,
    pub handler: H,
}

impl<H: Handler> Reception<H> {
    /// Answers one request.
    pub async fn answer(&self, request: Request) -> Response<Body> {
        let mut counts = Counts::default();
        let result = match self.receive(&request, &mut counts) {
            // Boxed, because the future of a handler is nested too deep for the compiler.
            Ok((verified, message)) => Box::pin(self.handler.handle(&verified, message, &mut counts)).await,
            Err(refusal) => Err(refusal),
        };
        let response = conclude(&request, result, counts);
        sentry::flush().await;
        response
    }

    /// Verifies and parses a request.
    fn receive<'a>(&self, request: &'a Request, counts: &mut Counts) -> Result<(Verified<'a>, Message), Refusal> {
        counts.add(Metric::Received, 1);
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
        let verified = self.authenticator.verify(&raw)?;
        let parsed =
            parse(verified.body(), verified.received_at()).map_err(|error| Refusal::new(error.code(), &error))?;
        counts.field("message.type", parsed.message_type.as_str());
        if !parsed.unreadable.is_empty() {
            counts.add(Metric::UnreadableFields, parsed.unreadable.len() as u64);
            counts.field("message.unreadable", parsed.unreadable);
        }
        Ok((verified, parsed.message))
    }
}

/// Counts the result of a request and makes the response.
fn conclude(request: &Request, result: Answer, mut counts: Counts) -> Response<Body> {
    let response = match result {
        Ok(body) => answer(StatusCode::OK, &body),
        Err(Refusal { code, detail }) => {
            let metric = match code.class() {
                FailureClass::BadRequest | FailureClass::Unauthorised => Metric::Refused,
                FailureClass::Transient | FailureClass::Permanent | FailureClass::Unresolved => Metric::NotTaken,
            };
            counts.add(metric, 1);
            counts.field("failure.code", code.to_string());
            counts.failed(code);
            tracing::warn!(org.id = named_org(request), failure.code = %code, detail, "webhook refused");
            problem(code, &detail)
        }
    };
    if let Some(org) = named_org(request) {
        counts.field("org.id", org);
    }
    counts.measure_latency();
    counts.emit();
    response
}

/// The org in the path, for the log, which then shows whose key stopped working. Only a valid id, since anybody can post here.
fn named_org(request: &Request) -> Option<String> {
    let path = request.path_parameters();
    let org: OrgId = path.first("org_id")?.parse().ok()?;
    Some(org.to_string())
}
