//! Management calls: `/@connections/{id}`, as the SDKs make them. Their signatures are not verified.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::closing::Closing;
use super::gateway::Gateway;
use super::limits::{MAX_FRAME_BYTES, MAX_MESSAGE_BYTES};

/// Header with the type of the error for the SDKs.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Sends the body to a client as a text message.
pub(crate) async fn push(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if let Some(status) = gateway.failing_push() {
        return failure(status);
    }
    // The server itself refuses much larger bodies.
    let Some(body) = body.ok().filter(|body| body.len() <= MAX_MESSAGE_BYTES) else {
        return failure(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let Ok(text) = String::from_utf8(body.into()) else { return failure(StatusCode::BAD_REQUEST) };
    match gateway.connections.get(&id) {
        Some(connection) if text.len() > MAX_FRAME_BYTES => {
            connection.close(Closing::too_big()).await;
            failure(StatusCode::PAYLOAD_TOO_LARGE)
        }
        Some(connection) if connection.push(text).await => StatusCode::OK.into_response(),
        _ => failure(StatusCode::GONE),
    }
}

/// Describes a connection.
pub(crate) async fn describe(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    let Some(connection) = gateway.connections.get(&id) else { return failure(StatusCode::GONE) };
    let description = json!({
        "connectedAt": connection.caller.connected_at,
        "identity": connection.caller.identity(),
        "lastActiveAt": connection.last_active(),
    });
    json_response(StatusCode::OK, &description)
}

/// Closes a connection.
pub(crate) async fn close(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    let Some(connection) = gateway.connections.remove(&id) else { return failure(StatusCode::GONE) };
    connection.close(Closing::deleted()).await;
    StatusCode::NO_CONTENT.into_response()
}

/// A response with a JSON body.
pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, Json(body)).into_response()
}

fn failure(status: StatusCode) -> Response {
    let kind = match status {
        StatusCode::BAD_REQUEST => "BadRequestException",
        StatusCode::FORBIDDEN => "ForbiddenException",
        StatusCode::GONE => "GoneException",
        StatusCode::PAYLOAD_TOO_LARGE => "PayloadTooLargeException",
        StatusCode::TOO_MANY_REQUESTS => "LimitExceededException",
        _ => "InternalServerErrorException",
    };
    let message = status.canonical_reason().unwrap_or(kind);
    let mut response = json_response(status, &json!({ "message": message }));
    response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(kind));
    response
}
