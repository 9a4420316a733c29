//! The WebSocket API: who connects with a token watches its org's calls. `docs/LIVE.md` describes the protocol.
//!
//! `$connect` makes a viewer that is pending, the client's first `resume` makes it active, `$disconnect` forgets it.

mod request;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use jiff::{SignedDuration, Timestamp};
use ringfence_aws::Connections;
use ringfence_core::Database;
use ringfence_core::error::Failure;
use ringfence_core::live::{self, Cursor, Page, Resumed};
use ringfence_identity::{Audience, Tokens};
use ringfence_protocol::live::Logged;
use ringfence_protocol::{ConnectionId, Frame};
use ringfence_runtime::problem::status_of;
use ringfence_vapi::FailureCode;
use serde::{Deserialize as _, Serialize};
use serde_json::{Value, json};

use self::request::{Action, PROTOCOL, offered_token};

/// API Gateway ends a connection after two hours.
const MAX_CONNECTION: SignedDuration = SignedDuration::from_hours(2);
/// Entries of the log in one page, at most.
const PAGE_ENTRIES: i32 = 200;
/// The frames of a page in bytes of JSON, about: a message may be 128 KB long.
const PAGE_BYTES: usize = 96 * 1024;

/// What the function needs to serve viewers.
pub struct Live {
    tokens: Tokens,
    database: Arc<Database>,
    connections: Connections,
}

/// The answer to API Gateway. The name of the header is spelt as browsers do: whether another spelling reaches them is not documented.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The HTTP status: 200 lets a viewer in.
    pub status_code: u16,
    /// The subprotocol that was chosen.
    headers: BTreeMap<&'static str, &'static str>,
}

impl Live {
    /// Verifies with `tokens`, keeps viewers in `database` and answers over `connections`.
    #[must_use]
    pub fn new(tokens: Tokens, database: Arc<Database>, connections: Connections) -> Self {
        Self { tokens, database, connections }
    }

    /// Serves one event of the WebSocket API.
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
        let claims = self.tokens.verify(Audience::Live, token, now).map_err(|_| FailureCode::Unauthorised)?;
        let org = claims.org().ok_or(FailureCode::Unauthorised)?;
        let expires_at = claims.expires_at.min(now + MAX_CONNECTION);
        if !live::open(&self.database, org, connection, expires_at).await? {
            // API Gateway names each connection once, so somebody else has asked for this one.
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
        let answer = match Action::read(body) {
            Some(Action::Ping) => json!({"v": 1, "type": "pong"}),
            Some(Action::Resume { cursor: None }) => self.resume(connection, None).await?,
            Some(Action::Resume { cursor: Some(cursor) }) => match cursor.parse::<Cursor>() {
                Ok(cursor) => self.resume(connection, Some(cursor)).await?,
                Err(_) => error("the cursor is not one of this server"),
            },
            None => error("not a message of this protocol"),
        };
        let is_expired = answer["type"] == "expired";
        // A client that gets no answer asks again, so a failure is nobody's loss.
        self.connections.push(std::slice::from_ref(connection), &answer.to_string()).await;
        if is_expired {
            self.connections.close(connection).await;
        }
        Ok(status(200))
    }

    async fn resume(&self, connection: &ConnectionId, cursor: Option<Cursor>) -> Result<Value, Failure> {
        Ok(match live::resume(&self.database, connection, cursor, PAGE_ENTRIES).await? {
            Resumed::Page(page) => page_of_frames(page),
            Resumed::Reset(cursor) => json!({"v": 1, "type": "reset", "cursor": cursor.to_string()}),
            Resumed::Unknown => json!({"v": 1, "type": "expired"}),
        })
    }
}

/// The page as a message, cut where it would be too long for one.
fn page_of_frames(mut page: Page) -> Value {
    let (mut frames, mut bytes) = (Vec::new(), 0);
    let mut taken = 0;
    for entry in &page.entries {
        // What this release cannot read is of no use to its clients either.
        let logged = Logged::deserialize(&entry.event).ok();
        let frame = logged.and_then(|logged| Frame::of_logged(entry.seq, entry.at, logged));
        let frame = frame.and_then(|frame| serde_json::to_value(frame).ok());
        if let Some(frame) = frame {
            bytes += frame.to_string().len();
            if bytes > PAGE_BYTES && !frames.is_empty() {
                break;
            }
            frames.push(frame);
        }
        taken += 1;
    }
    page.truncate(taken);
    json!({"v": 1, "type": "page", "frames": frames, "cursor": page.next().to_string(), "more": page.has_more()})
}

fn error(message: &str) -> Value {
    json!({"v": 1, "type": "error", "message": message})
}

fn status(status_code: u16) -> Answer {
    Answer { status_code, headers: BTreeMap::new() }
}
