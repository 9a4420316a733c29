//! The WebSocket API: a client that connects with a token receives the calls of its org. `docs/LIVE.md` describes the
//! protocol.
//!
//! `$connect` creates a pending viewer, the client's first `resume` makes it active, and `$disconnect` deletes it.

mod request;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use jiff::{SignedDuration, Timestamp};
use ringfence_aws::Connections;
use ringfence_core::Database;
use ringfence_core::error::Failure;
use ringfence_core::live::{self, Cursor, Page, Resumed};
use ringfence_identity::LiveTokens;
use ringfence_protocol::live::{ClientMessage, LiveReply, Logged, PAGE_BYTES, ServerMessage};
use ringfence_protocol::{ConnectionId, Frame};
use ringfence_runtime::problem::status_of;
use ringfence_vapi::FailureCode;
use serde::{Deserialize, Serialize};

use self::request::{PROTOCOL, offered_token, read};

/// API Gateway ends a connection after two hours.
const MAX_CONNECTION: SignedDuration = SignedDuration::from_hours(2);
/// The most log entries in one page.
const PAGE_ENTRIES: i32 = 200;

pub struct Live {
    tokens: LiveTokens,
    database: Arc<Database>,
    connections: Connections,
}

/// The response to API Gateway. The header name is spelt as browsers spell it, because it is not documented whether
/// another spelling reaches them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The HTTP status. 200 accepts the connection.
    pub status_code: u16,
    /// The chosen subprotocol.
    headers: BTreeMap<&'static str, &'static str>,
}

impl Live {
    #[must_use]
    pub fn new(tokens: LiveTokens, database: Arc<Database>, connections: Connections) -> Self {
        Self { tokens, database, connections }
    }

    pub async fn answer(&self, event: &ApiGatewayWebsocketProxyRequest) -> Answer {
        let context = &event.request_context;
        let Some(connection) = context.connection_id.clone().map(ConnectionId::from) else { return status(400) };
        let connection = &connection;
        let result = match context.route_key.as_deref() {
            Some("$connect") => self.connect(event, connection).await,
            Some("$disconnect") => self.disconnect(connection).await,
            _ => self.message(connection, event.body.as_deref().unwrap_or_default()).await,
        };
        result.unwrap_or_else(|failure| {
            tracing::warn!(connection.id = %connection, failure.code = %failure.code, "a viewer was not served");
            status(status_of(failure.code).as_u16())
        })
    }

    async fn connect(
        &self,
        event: &ApiGatewayWebsocketProxyRequest,
        connection: &ConnectionId,
    ) -> Result<Answer, Failure> {
        let now = Timestamp::now();
        let token = offered_token(&event.headers).ok_or(FailureCode::Unauthorised)?;
        let claims = self.tokens.verify(token, now).map_err(|_| FailureCode::Unauthorised)?;
        let org = claims.scope;
        let expires_at = claims.expires_at.min(now + MAX_CONNECTION);
        if !live::open(&self.database, org, connection, expires_at).await? {
            // API Gateway uses each connection id once, so another request has taken this id.
            return Err(FailureCode::Unauthorised.into());
        }
        tracing::info!(org.id = %org, connection.id = %connection, "viewer connected");
        Ok(Answer { status_code: 200, headers: BTreeMap::from([("Sec-WebSocket-Protocol", PROTOCOL)]) })
    }

    async fn disconnect(&self, connection: &ConnectionId) -> Result<Answer, Failure> {
        live::close(&self.database, None, std::slice::from_ref(connection)).await?;
        Ok(status(200))
    }

    async fn message(&self, connection: &ConnectionId, body: &str) -> Result<Answer, Failure> {
        let reply = match read(body) {
            Some(ClientMessage::Ping) => LiveReply::Pong,
            Some(ClientMessage::Resume { cursor: None }) => self.resume(connection, None).await?,
            Some(ClientMessage::Resume { cursor: Some(cursor) }) => match cursor.parse::<Cursor>() {
                Ok(cursor) => self.resume(connection, Some(cursor)).await?,
                Err(error) => LiveReply::Error { message: error.to_string() },
            },
            None => LiveReply::Error { message: "not a message of this protocol".to_owned() },
        };
        let is_expired = reply == LiveReply::Expired;
        let message = serde_json::to_string(&ServerMessage::from(reply)).map_err(|_| FailureCode::EventUnreadable)?;
        // A client without an answer sends its request again, so a failed push needs no handling.
        self.connections.push(std::slice::from_ref(connection), &message).await;
        if is_expired {
            self.connections.close(connection).await;
        }
        Ok(status(200))
    }

    async fn resume(&self, connection: &ConnectionId, cursor: Option<Cursor>) -> Result<LiveReply, Failure> {
        Ok(match live::resume(&self.database, connection, cursor, PAGE_ENTRIES).await? {
            Resumed::Page(page) => page_of_frames(page),
            Resumed::Reset(cursor) => LiveReply::Reset { cursor: cursor.to_string() },
            Resumed::Unknown => LiveReply::Expired,
        })
    }
}

/// The page as a message. It ends early if the message would be too large.
fn page_of_frames(mut page: Page) -> LiveReply {
    let (mut frames, mut bytes, mut taken) = (Vec::new(), 0, 0);
    for entry in &page.entries {
        // An entry that this release cannot read is skipped, because its clients could not read it either.
        let logged = <Logged as Deserialize>::deserialize(&entry.event).ok();
        if let Some(frame) = logged.and_then(|logged| Frame::of_logged(entry.seq, entry.at, logged)) {
            // With the comma that separates it.
            bytes += frame.json_bytes() + 1;
            if bytes > PAGE_BYTES && !frames.is_empty() {
                break;
            }
            frames.push(frame);
        }
        taken += 1;
    }
    page.truncate(taken);
    LiveReply::Page { frames, cursor: page.next().to_string(), more: page.has_more() }
}

fn status(status_code: u16) -> Answer {
    Answer { status_code, headers: BTreeMap::new() }
}
