//! The HTTP reception of Vapi's messages: verifies the sender over the raw bytes, parses the message, and counts and formats the answer.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use lambda_http::http::header::CONTENT_ENCODING;
use lambda_http::http::{HeaderMap, Response, StatusCode};
use lambda_http::{Body, Request, RequestExt as _};
use ringfence_identity::{Authenticator, Raw, Unauthorised, Verified};
use ringfence_vapi::{FailureClass, FailureCode, Message, OrgId, Parsed, parse};
use serde_json::Value;

use crate::drift::DriftCounter;
use crate::metrics::{Counts, Metric};
use crate::problem::{answer, problem};
use crate::sentry;

/// The largest body, as received and after it was decompressed. Lambda accepts requests of 6 MB with the body as an escaped JSON string, which leaves about 4.5 MB.
const MAX_BODY_BYTES: usize = 5 * 1024 * 1024;
/// The first bytes of a gzip member (RFC 1952).
const GZIP_MAGIC: &[u8] = b"\x1f\x8b";

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
    pub drift: DriftCounter,
}

impl<H: Handler> Reception<H> {
    /// Answers one request.
    pub async fn answer(&self, request: Request) -> Response<Body> {
        let mut counts = Counts::default();
        let result = match self.receive(&request, &mut counts) {
            Ok((verified, parsed)) => {
                // Boxed, because the future of a handler is nested too deep for the compiler.
                let answer = Box::pin(self.handler.handle(&verified, parsed.message, &mut counts)).await;
                if let (Ok(_), Some(found)) = (&answer, &parsed.drift) {
                    Box::pin(self.drift.count(&verified, &parsed.message_type, found, &mut counts)).await;
                }
                answer
            }
            Err(refusal) => Err(refusal),
        };
        let response = conclude(&request, result, counts);
        sentry::flush().await;
        response
    }

    /// Verifies and parses a request.
    fn receive<'a>(&self, request: &'a Request, counts: &mut Counts) -> Result<(Verified<'a>, Parsed), Refusal> {
        counts.add(Metric::Received, 1);
        let path = request.path_parameters();
        let query = request.query_string_parameters();
        let raw = Raw {
            org: org_in_path(path.first("org_id"), path.first("path")),
            headers: request.headers(),
            key_version: query.first("v"),
            body: request.body(),
            received_at: Timestamp::now(),
        };
        if raw.body.len() > MAX_BODY_BYTES {
            return Err(too_large());
        }
        let verified = self.authenticator.verify(&raw)?;
        // The key is checked first, so that only known senders can make this function decompress.
        let body = decompress(request.headers(), verified.body())?;
        let parsed = parse(&body, verified.received_at()).map_err(|error| Refusal::new(error.code(), &error))?;
        counts.field("message.type", parsed.message_type.as_str());
        if !parsed.unreadable.is_empty() {
            counts.add(Metric::UnreadableFields, parsed.unreadable.len() as u64);
            counts.field("message.unreadable", parsed.unreadable.as_slice());
        }
        Ok((verified, parsed))
    }
}

fn too_large() -> Refusal {
    Refusal::new(FailureCode::BodyTooLarge, &"the body is larger than 5 MiB")
}

/// The body without `Content-Encoding: gzip`. A relay may have decompressed it and left the header.
fn decompress<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Refusal> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let encoding = encodings.next().map_or(Some(""), |value| value.to_str().ok()).map(str::trim);
    let is_one_of =
        |names: &[&str]| encoding.is_some_and(|encoding| names.iter().any(|name| encoding.eq_ignore_ascii_case(name)));
    let is_gzip = is_one_of(&["gzip", "x-gzip"]);
    if encodings.next().is_some() || !(is_gzip || is_one_of(&["", "identity"])) {
        let detail = "the only Content-Encoding is gzip: see \"Not supported\" in docs/MESSAGES.md";
        return Err(Refusal::new(FailureCode::EncodingNotSupported, &detail));
    }
    if !is_gzip || !body.starts_with(GZIP_MAGIC) {
        return Ok(Cow::Borrowed(body));
    }
    let mut plain = Vec::new();
    let mut decoder = MultiGzDecoder::new(body).take(MAX_BODY_BYTES as u64 + 1);
    decoder
        .read_to_end(&mut plain)
        .map_err(|_| Refusal::new(FailureCode::BodyNotJson, &"the body is not valid gzip"))?;
    if plain.len() > MAX_BODY_BYTES { Err(too_large()) } else { Ok(Cow::Owned(plain)) }
}

/// The org in the path, as text. `None`: the platform URL.
///
/// `rest` is the whole path after `/vapi/`. API Gateway passes it for a path that has no route of its own, above all one
/// with a trailing slash. It is an org's only if nothing but a known route follows.
fn org_in_path<'a>(org_id: Option<&'a str>, rest: Option<&'a str>) -> Option<&'a str> {
    let path = org_id.or(rest)?.trim_end_matches('/');
    let org = path.strip_suffix("/assistant-request").or_else(|| path.strip_suffix("/tool-calls")).unwrap_or(path);
    (!org.is_empty()).then_some(org)
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
    let org: OrgId = org_in_path(path.first("org_id"), path.first("path"))?.parse().ok()?;
    Some(org.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn decompressed(encodings: &[&'static str], body: &[u8]) -> Result<Vec<u8>, FailureCode> {
        let mut headers = HeaderMap::new();
        for encoding in encodings {
            headers.append(CONTENT_ENCODING, encoding.parse().unwrap());
        }
        decompress(&headers, body).map(Cow::into_owned).map_err(|refusal| refusal.code)
    }

    /// E6: gzip is decompressed within the limit of every body; other encodings are refused.
    #[test]
    fn a_body_may_be_compressed_with_gzip() {
        let body = br#"{"message":{}}"#.to_vec();
        for encodings in [&[][..], &[""], &["identity"], &["gzip"]] {
            assert_eq!(decompressed(encodings, &body), Ok(body.clone()), "{encodings:?}");
        }
        for encoding in ["gzip", "GZip", " x-gzip "] {
            assert_eq!(decompressed(&[encoding], &gzip(&body)), Ok(body.clone()), "{encoding}");
        }
        let parts = [gzip(&body[..4]), gzip(&body[4..])].concat();
        assert_eq!(decompressed(&["gzip"], &parts), Ok(body.clone()), "two members");
        for encodings in [&["br"][..], &["deflate"], &["gzip, gzip"], &["gzip", "gzip"], &["zstd"]] {
            assert_eq!(decompressed(encodings, &body), Err(FailureCode::EncodingNotSupported), "{encodings:?}");
        }
        assert_eq!(decompressed(&["gzip"], b"\x1f\x8bnonsense"), Err(FailureCode::BodyNotJson));
        let whole = vec![b' '; MAX_BODY_BYTES];
        assert_eq!(decompressed(&["gzip"], &gzip(&whole)).map(|body| body.len()), Ok(MAX_BODY_BYTES));
        let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
        assert!(bomb.len() < 100_000);
        assert_eq!(decompressed(&["gzip"], &bomb), Err(FailureCode::BodyTooLarge));
    }

    /// E6: a path with a trailing slash is the same path.
    #[test]
    fn a_trailing_slash_changes_nothing() {
        for (org_id, rest, org) in [
            (Some("a"), None, Some("a")),
            (Some("a/"), None, Some("a")),
            (None, None, None),
            (None, Some(""), None),
            (None, Some("/"), None),
            (None, Some("a/"), Some("a")),
            (None, Some("a/tool-calls/"), Some("a")),
            (None, Some("a/assistant-request/"), Some("a")),
            // No org has such an id.
            (None, Some("a/b/"), Some("a/b")),
        ] {
            assert_eq!(org_in_path(org_id, rest), org, "{org_id:?} {rest:?}");
        }
    }
}
