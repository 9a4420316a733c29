//! Clients that connect.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, State};
use axum::http::header::SEC_WEBSOCKET_PROTOCOL;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::connection::OpenConnection;
use super::event::Caller;
use super::gateway::Gateway;
use super::management::json_response;
use super::socket::carry;

/// A client whose connection the function accepted.
struct Admission {
    connection: OpenConnection,
    protocol: Option<HeaderValue>,
}

/// Asks the function whether a client may connect, and serves its socket if so.
pub(crate) async fn connect(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    mut upgrade: WebSocketUpgrade,
) -> Response {
    let caller = Caller::new(peer, &headers);
    let event = caller.connect(&headers, &uri);
    match admission(gateway, caller, event).await {
        Ok(Admission { connection, protocol }) => {
            if let Some(protocol) = protocol {
                upgrade.set_selected_protocol(protocol);
            }
            upgrade.on_upgrade(|socket| carry(socket, connection)).into_response()
        }
        Err(status) => {
            let message = status.canonical_reason().unwrap_or("Refused");
            json_response(status, &json!({ "message": message }))
        }
    }
}

/// Decision of the function. As in AWS, the invocation completes even if the client disconnects.
async fn admission(gateway: Arc<Gateway>, caller: Caller, event: Value) -> Result<Admission, StatusCode> {
    let (decide, decision) = oneshot::channel();
    tokio::spawn(async move {
        let decision = tokio::select! {
            decision = ask(&gateway, caller, event) => decision,
            () = gateway.stopped() => Err(StatusCode::SERVICE_UNAVAILABLE),
        };
        // If the client has disconnected, its connection is dropped here, which invokes the function with
        // `$disconnect`.
        let _ = decide.send(decision);
    });
    decision.await.unwrap_or(Err(StatusCode::INTERNAL_SERVER_ERROR))
}

async fn ask(gateway: &Arc<Gateway>, caller: Caller, event: Value) -> Result<Admission, StatusCode> {
    let answer = gateway.function.invoke(event).await.ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
    let status = answer.status().and_then(|status| StatusCode::from_u16(status).ok()).ok_or(StatusCode::BAD_GATEWAY)?;
    if !status.is_success() {
        return Err(status);
    }
    let protocol = answer.header(SEC_WEBSOCKET_PROTOCOL.as_str()).and_then(|value| HeaderValue::from_str(value).ok());
    Ok(Admission { connection: OpenConnection::open(gateway, caller), protocol })
}
