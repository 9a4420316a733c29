//! A viewer of the deployed WebSocket API.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::error::{Context, Error, Result};

/// How long an answer may take. Each invocation starts a process.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A connected viewer.
pub(super) struct Viewer(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Viewer {
    /// Connects with a token, as browsers do.
    pub(super) async fn connect(url: &str, token: &str) -> Result<Self> {
        let mut request = url.into_client_request().context("read the WebSocket URL")?;
        let protocols = format!("ringfence.v1, {token}").parse().context("offer the token")?;
        request.headers_mut().insert("sec-websocket-protocol", protocols);
        let (socket, _) = connect_async(request).await.context("connect a viewer")?;
        Ok(Self(socket))
    }

    /// Becomes active, with the end of the log.
    pub(super) async fn resume(&mut self) -> Result<()> {
        let resume = json!({"action": "resume", "cursor": null}).to_string();
        self.0.send(Message::text(resume)).await.context("resume a viewer")?;
        let page = self.next(ANSWER_LIMIT).await?;
        if page["type"] == "page" {
            return Ok(());
        }
        Err(Error::new(format!("a viewer's resume is answered {page}")))
    }

    /// The type of the first frame of a call.
    pub(super) async fn frame_of(&mut self, call: &str, limit: Duration) -> Result<String> {
        loop {
            let frame = self.next(limit).await?;
            if frame["call_id"] == call {
                return Ok(frame["type"].as_str().unwrap_or_default().to_owned());
            }
        }
    }

    async fn next(&mut self, limit: Duration) -> Result<Value> {
        loop {
            let message = tokio::time::timeout(limit, self.0.next()).await;
            let message = message.map_err(|_| Error::new("a viewer was told nothing"))?;
            let message = message.ok_or_else(|| Error::new("a viewer's connection was closed"))?;
            if let Message::Text(text) = message.context("read what a viewer is told")? {
                return serde_json::from_str(&text).context("read what a viewer is told");
            }
        }
    }
}
