//! What every function does that Vapi calls, before and after it answers a message: it verifies the sender over the raw bytes and
//! parses; and it counts.

use jiff::Timestamp;
use lambda_http::http::{Response, StatusCode};
use lambda_http::{Body, Request, RequestExt as _};
use ringfence_identity::{Authenticator, Raw, Unauthorised, Verified};
use ringfence_vapi::{FailureClass, FailureCode, Message, OrgId, parse};
use serde_json::Value;

use crate::metrics::{Counts, Metric};
use crate::problem::{answer, problem};

/// The largest body. Lambda takes requests of 6 MB with the body escaped as a JSON text inside, which leaves about 4.5 MB; anything
/// near this came another way.
const MAX_BODY_BYTES: usize = 5 * 1024 * 1024;

/// An answer, or why there is none but an error.
pub type Answer = Result<Value, Refusal>;

/// A failure with the words that the sender reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    code: FailureCode,
    detail: String,
}

impl Refusal {
    /// `detail` is in words of our own, and echoes nothing.
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

/// Verifies and parses a request.
pub fn receive<'a>(
    authenticator: &Authenticator,
    request: &'a Request,
    counts: &mut Counts,
) -> Result<(Verified<'a>, Message), Refusal> {
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
    let verified = authenticator.verify(&raw)?;
    let parsed = parse(verified.body(), verified.received_at()).map_err(|error| Refusal::new(error.code(), &error))?;
    counts.field("message.type", parsed.message_type.as_str());
    if !parsed.unreadable.is_empty() {
        counts.add(Metric::UnreadableFields, parsed.unreadable.len() as u64);
        counts.field("message.unreadable", parsed.unreadable);
    }
    Ok((verified, parsed.message))
}

/// Counts what became of a request, and answers it.
pub fn conclude(request: &Request, result: Answer, mut counts: Counts) -> Response<Body> {
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

/// The org that the path names, for the log: a key that stopped to fit is found by it. Only if it is an id, since anybody can
/// post anything here.
fn named_org(request: &Request) -> Option<String> {
    let path = request.path_parameters();
    let org: OrgId = path.first("org_id")?.parse().ok()?;
    Some(org.to_string())
}
