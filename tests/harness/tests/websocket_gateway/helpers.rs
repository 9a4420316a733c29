//! A gateway with a scripted function, and clients with helper methods.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
use aws_sdk_apigatewaymanagement::config::{BehaviorVersion, Config, Credentials, Region};
use futures_util::{SinkExt as _, StreamExt as _};
use ringfence_harness::websocket_gateway::{FakeWebSocketGateway, Limits};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A gateway and the events of its function.
pub(crate) struct Scene {
    pub(crate) gateway: FakeWebSocketGateway,
    events: Mutex<mpsc::UnboundedReceiver<Value>>,
}

/// A connected client.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Scene {
    /// A function that answers each event with `answer`.
    pub(crate) async fn new(answer: impl Fn(&Value) -> Result<Value, String> + Send + Sync + 'static) -> Self {
        Self::with_limits(Limits::default(), answer).await
    }

    pub(crate) async fn with_limits(
        limits: Limits,
        answer: impl Fn(&Value) -> Result<Value, String> + Send + Sync + 'static,
    ) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let answer = Arc::new(answer);
        let invoke = move |event: Value| {
            let answered = answer(&event);
            sender.send(event).unwrap();
            async move { answered }
        };
        let gateway = FakeWebSocketGateway::start("127.0.0.1:0".parse().unwrap(), limits, invoke).await.unwrap();
        Self { gateway, events: Mutex::new(events) }
    }

    pub(crate) async fn connect(&self) -> Socket {
        self.connect_with(&[]).await.unwrap().0
    }

    pub(crate) async fn connect_with(&self, headers: &[(&'static str, &str)]) -> Result<(Socket, Response), Error> {
        let mut request = self.gateway.url().into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, response) = connect_async(request).await?;
        Ok((Socket(socket), response))
    }

    /// The next event.
    pub(crate) async fn event(&self) -> Value {
        timeout(TIMEOUT, async { self.events.lock().await.recv().await }).await.unwrap().unwrap()
    }

    /// Connects, and returns the connection with its id.
    pub(crate) async fn connected(&self) -> (Socket, String) {
        let socket = self.connect().await;
        let event = self.event().await;
        (socket, event["requestContext"]["connectionId"].as_str().unwrap().to_owned())
    }

    pub(crate) fn sdk(&self) -> Client {
        sdk(&self.gateway.endpoint())
    }

    /// URL of management calls for a connection, with its id encoded.
    pub(crate) fn management_url(&self, id: &str) -> String {
        format!("{}/@connections/{}", self.gateway.endpoint(), id.replace('=', "%3D"))
    }
}

/// Client of the SDK without retries.
pub(crate) fn sdk(endpoint: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(endpoint);
    Client::from_conf(config.build())
}

impl Socket {
    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        self.0.send(message.into()).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Option<Message> {
        timeout(TIMEOUT, self.0.next()).await.unwrap().map(Result::unwrap)
    }

    pub(crate) async fn text(&mut self) -> String {
        self.next().await.unwrap().into_text().unwrap().to_string()
    }

    pub(crate) async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    pub(crate) async fn close(&mut self, frame: Option<CloseFrame>) {
        self.0.close(frame).await.unwrap();
        while self.0.next().await.is_some_and(|message| message.is_ok()) {}
    }

    /// Code and reason of the gateway's close frame.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        let Some(Message::Close(Some(frame))) = self.next().await else { panic!("no close frame") };
        (frame.code.into(), frame.reason.to_string())
    }
}

/// A function that accepts every event.
#[expect(clippy::unnecessary_wraps, reason = "it is one function among others, which fail")]
pub(crate) fn content(_: &Value) -> Result<Value, String> {
    Ok(serde_json::json!({ "statusCode": 200 }))
}
