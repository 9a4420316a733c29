//! Error responses: `application/problem+json` (RFC 9457) with the failure code. They hold nothing of the request.

use lambda_http::Body;
use lambda_http::http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use ringfence_vapi::FailureCode;
use serde_json::{Value, json};

/// The HTTP status of a failure that is returned to the sender.
#[must_use]
pub fn status_of(code: FailureCode) -> StatusCode {
    StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}

/// The response to a failed request. `detail` holds nothing of the request.
#[must_use]
pub fn problem(code: FailureCode, detail: &str) -> Response<Body> {
    problem_with(status_of(code), code, detail)
}

/// The same with another status.
#[must_use]
pub fn problem_with(status: StatusCode, code: FailureCode, detail: &str) -> Response<Body> {
    let body = json!({
        "type": format!("urn:ringfence:failure:{code}"),
        "title": code.title(),
        "status": status.as_u16(),
        "detail": detail,
        "code": code.to_string(),
    });
    respond(status, "application/problem+json", &body)
}

/// A JSON response.
#[must_use]
pub fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    respond(status, "application/json", body)
}

fn respond(status: StatusCode, content_type: &'static str, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::Text(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
