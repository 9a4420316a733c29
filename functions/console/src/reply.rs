//! Answers, each with the headers that keep a browser from doing more than the page says.

use lambda_http::Body;
use lambda_http::http::{HeaderValue, Response, StatusCode, header};
use maud::Markup;
use serde::Serialize;

/// An answer before its policy.
pub(crate) type Reply = Response<Body>;

/// A page.
pub(crate) fn page(status: StatusCode, markup: Markup) -> Reply {
    with_type(status, "text/html; charset=utf-8", Body::Text(markup.into_string()))
}

/// The same as JSON.
pub(crate) fn json(value: &impl Serialize) -> Reply {
    let text = serde_json::to_string(value).unwrap_or_default();
    with_type(StatusCode::OK, "application/json", Body::Text(text))
}

/// To another page, by GET.
pub(crate) fn see_other(location: &str) -> Reply {
    let mut reply = with_type(StatusCode::SEE_OTHER, "text/plain", Body::Empty);
    reply
        .headers_mut()
        .insert(header::LOCATION, HeaderValue::from_str(location).unwrap_or(HeaderValue::from_static("/console")));
    reply
}

/// A file of this release: it changes its name when it changes.
pub(crate) fn asset(content_type: &'static str, text: &'static str) -> Reply {
    let mut reply = with_type(StatusCode::OK, content_type, Body::Text(text.to_owned()));
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    reply
}

fn with_type(status: StatusCode, content_type: &'static str, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// Where a page may load from, and send to.
pub(crate) struct Policy {
    /// Where recordings are played from.
    pub(crate) media: String,
    /// The WebSocket API.
    pub(crate) live: String,
}

impl Policy {
    /// Adds what every answer has.
    pub(crate) fn apply(&self, reply: &mut Reply) {
        let Self { media, live } = self;
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' {media}; \
             connect-src 'self' {live}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        let headers = reply.headers_mut();
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // With "no-referrer" a browser would not say either where a form comes from.
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
}
