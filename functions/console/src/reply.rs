//! Replies and their security headers.

use lambda_http::Body;
use lambda_http::http::{HeaderValue, Response, StatusCode, header};
use maud::Markup;
use serde::Serialize;

/// A reply before `Policy::apply`.
pub(crate) type Reply = Response<Body>;

/// An HTML page.
pub(crate) fn page(status: StatusCode, markup: Markup) -> Reply {
    with_type(status, "text/html; charset=utf-8", Body::Text(markup.into_string()))
}

/// A value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Reply {
    let text = serde_json::to_string(value).unwrap_or_default();
    with_type(StatusCode::OK, "application/json", Body::Text(text))
}

/// Redirects to another page by GET.
pub(crate) fn see_other(location: &str) -> Reply {
    let mut reply = with_type(StatusCode::SEE_OTHER, "text/plain", Body::Empty);
    reply
        .headers_mut()
        .insert(header::LOCATION, HeaderValue::from_str(location).unwrap_or(HeaderValue::from_static("/console")));
    reply
}

/// A file that browsers cache forever, because its address changes with its content.
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

/// The hosts besides the console's own that a page may load from and connect to.
pub(crate) struct Policy {
    /// Origin of the recordings.
    pub(crate) media: String,
    /// Origin of the WebSocket API.
    pub(crate) live: String,
}

impl Policy {
    /// Adds the security headers.
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
        // With "no-referrer" browsers send `Origin: null` with forms, which `is_same_origin` rejects.
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
}
