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
use ringfence_core::live::{self, ConnectionLimits, Cursor, Opened, Page, Resumed};
use ringfence_identity::{CursorSealer, LiveTokens, token_sha256};
use ringfence_protocol::live::{ClientMessage, LiveReply, Logged, PAGE_BYTES, ServerMessage};
use ringfence_protocol::{ConnectionId, Frame};
use ringfence_runtime::metrics::{Counts, Metric};
use ringfence_runtime::problem::status_of;
use ringfence_vapi::FailureCode;
use serde::{Deserialize, Serialize};

use self::request::{PROTOCOL, offered_token, read};

/// API Gateway ends a connection after two hours.
const MAX_CONNECTION: SignedDuration = SignedDuration::from_hours(2);
/// The connections that may be open at the same time. A person has a few tabs, each with a second connection for a moment
/// (`SWITCH_MS` of the client). Every event of an org is pushed to each of its connections.
pub const CONNECTION_LIMITS: ConnectionLimits = ConnectionLimits { per_token: 20, per_org: 1_000 };
/// The most log entries in one page.
const PAGE_ENTRIES: i32 = 200;

pub struct Live {
    tokens: LiveTokens,
    cursors: CursorSealer,
    database: Arc<Database>,
    connections: Connections,
    limits: ConnectionLimits,
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
        let cursors = tokens.cursor_sealer();
        Self { tokens, cursors, database, connections, limits: CONNECTION_LIMITS }
    }

    /// The same, with other limits.
    #[must_use]
    pub fn with_limits(self, limits: ConnectionLimits) -> Self {
        Self { limits, ..self }
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
        match live::open(&self.database, org, connection, expires_at, token_sha256(token), self.limits).await? {
            Opened::Pending => {}
            // API Gateway uses each connection id once, so another request has taken this id.
            Opened::Taken => return Err(FailureCode::Unauthorised.into()),
            Opened::Full => {
                tracing::warn!(org.id = %org, connection.id = %connection, "a viewer is refused: too many connections");
                let mut counts = Counts::default();
                counts.add(Metric::ViewerRefused, 1);
                counts.field("org.id", org.to_string());
                counts.emit();
                return Ok(status(429));
            }
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
            Some(ClientMessage::Resume { cursor: Some(cursor) }) => {
                // A cursor that was sealed with a master key that is gone, or is none, is not in the log: the client resets.
                let cursor = self.cursors.open(&cursor).and_then(|cursor| cursor.parse().ok());
                self.resume(connection, Some(cursor.unwrap_or(Cursor::BEYOND))).await?
            }
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
            Resumed::Page(page) => {
                let (frames, page) = frames_of(page);
                LiveReply::Page { frames, cursor: self.sealed(page.next())?, more: page.has_more() }
            }
            Resumed::Reset(cursor) => LiveReply::Reset { cursor: self.sealed(cursor)? },
            Resumed::Unknown => LiveReply::Expired,
        })
    }

    fn sealed(&self, cursor: Cursor) -> Result<String, Failure> {
        self.cursors.seal(&cursor.to_string()).map_err(|_| FailureCode::EventUnreadable.into())
    }
}

/// The frames of a page. It ends early if the message would be too large.
fn frames_of(mut page: Page) -> (Vec<Frame>, Page) {
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
    (frames, page)
}

fn status(status_code: u16) -> Answer {
    Answer { status_code, headers: BTreeMap::new() }
}
