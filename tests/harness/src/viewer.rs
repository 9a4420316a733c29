//! A viewer of a WebSocket API, deployed or local.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::error::{Context, Error, Result};

/// Limit for an answer. Each invocation starts a process.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A connected viewer.
pub struct Viewer(WebSocketStream<BufReader<TcpStream>>);

impl Viewer {
    /// Connects with a token, as browsers do. It writes the handshake itself, because the local cloud omits the
    /// subprotocol that the function has chosen, and every client refuses such an answer. API Gateway and the gateway
    /// of `up` include it.
    pub async fn connect(url: &str, token: &str) -> Result<Self> {
        let url = Url::parse(url).context("read the WebSocket URL")?;
        let host = format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or_default());
        let mut stream = BufReader::new(TcpStream::connect(&host).await.context("connect a viewer")?);
        let (path, key) = (url.path(), generate_key());
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
            sec-websocket-key: {key}\r\nsec-websocket-protocol: ringfence.v1, {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.context("connect a viewer")?;
        let head = tokio::time::timeout(ANSWER_LIMIT, head(&mut stream)).await;
        let head = head.map_err(|_| Error::new("a viewer's request is not answered"))??;
        if !head.starts_with("HTTP/1.1 101 ") {
            return Err(Error::new(format!("a viewer is answered {}", head.lines().next().unwrap_or_default())));
        }
        Ok(Self(WebSocketStream::from_raw_socket(stream, Role::Client, None).await))
    }

    /// Activates the connection by a resume at the end of the log.
    pub async fn resume(&mut self) -> Result<()> {
        let resume = json!({"action": "resume", "cursor": null}).to_string();
        self.0.send(Message::text(resume)).await.context("resume a viewer")?;
        let page = self.next(ANSWER_LIMIT).await?;
        if page["type"] == "page" {
            return Ok(());
        }
        Err(Error::new(format!("a viewer's resume is answered {page}")))
    }

    /// Type of the first frame of a call.
    pub async fn frame_of(&mut self, call: &str, limit: Duration) -> Result<String> {
        loop {
            let frame = self.next(limit).await?;
            if frame["call_id"] == call {
                return Ok(frame["type"].as_str().unwrap_or_default().to_owned());
            }
        }
    }

    /// Next text message, of any type.
    pub async fn next(&mut self, limit: Duration) -> Result<Value> {
        loop {
            let message = tokio::time::timeout(limit, self.0.next()).await;
            let message = message.map_err(|_| Error::new("a viewer received no message"))?;
            let message = message.ok_or_else(|| Error::new("a viewer's connection was closed"))?;
            if let Message::Text(text) = message.context("read a message to a viewer")? {
                return serde_json::from_str(&text).context("read a message to a viewer");
            }
        }
    }
}

/// Reads the answer up to its empty line.
async fn head(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.context("read the answer to a viewer")? == 0 {
            return Err(Error::new("a viewer's connection was closed"));
        }
    }
    Ok(head)
}
