//! Viewers over WebSocket: real clients, the real function and pushes by the SDK. Only API Gateway is a fake.

mod audience;
mod client;
mod connecting;
mod failing;
mod frames;
mod log;
mod partials;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use broadcast_retry::Broadcaster;
use futures_util::{SinkExt as _, StreamExt as _};
use jiff::Timestamp;
use live::Live;
use ringfence_core::Database;
use ringfence_harness::testing::webhook::masters;
use ringfence_harness::testing::{TestDatabase, TestQueues, TestWebhook};
use ringfence_harness::websocket_gateway::{FakeWebSocketGateway, Limits};
use ringfence_runtime::Consumer;
use ringfence_vapi::OrgId;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Limit for any wait.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A database with one org, queues, a webhook function, and the WebSocket API in front of the live function.
struct Stage {
    database: TestDatabase,
    app: Arc<Database>,
    queues: TestQueues,
    org: OrgId,
    webhook: TestWebhook,
    gateway: FakeWebSocketGateway,
    live: Arc<OnceLock<Live>>,
}

impl Stage {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let (org, app) = (database.org("Acme").await, database.app());
        let live: Arc<OnceLock<Live>> = Arc::default();
        let function = Arc::clone(&live);
        let invoke = move |event: Value| {
            let function = Arc::clone(&function);
            async move {
                let event = serde_json::from_value(event).map_err(|error| error.to_string())?;
                let answer = function.get().expect("the function is there").answer(&event).await;
                serde_json::to_value(answer).map_err(|error| error.to_string())
            }
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let gateway = FakeWebSocketGateway::start(address, Limits::default(), invoke).await.unwrap();
        let queues = TestQueues::with_connections(&gateway.endpoint()).await;
        let function = Live::new(masters().live_tokens(), Arc::clone(&app), queues.connections());
        assert!(live.set(function).is_ok());
        let webhook = TestWebhook::new(Arc::clone(&app), &queues);
        Self { database, app, queues, org, webhook, gateway, live }
    }

    fn live(&self) -> &Live {
        self.live.get().unwrap()
    }

    /// A viewer of an org, with a token of its own, that has resumed from the end of the log.
    async fn viewer(&self, org: OrgId) -> Viewer {
        let holder = uuid::Uuid::new_v4().to_string();
        let tokens = masters().live_tokens();
        let (token, _) = tokens.mint(org, &holder, Duration::from_mins(5), Timestamp::now()).unwrap();
        let mut viewer = self.connect(&token).await.unwrap();
        viewer.resume().await;
        viewer
    }

    /// Connects with a token, as browsers do. The error is the status of a refusal.
    async fn connect(&self, token: &str) -> Result<Viewer, u16> {
        let mut request = self.gateway.url().into_client_request().unwrap();
        let protocols = format!("ringfence.v1, {token}");
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        match connect_async(request).await {
            Ok((socket, response)) => {
                assert_eq!(response.headers()["sec-websocket-protocol"], "ringfence.v1");
                Ok(Viewer { socket, frames: BTreeMap::new(), partials: Vec::new(), cursor: None, repeats: 0 })
            }
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Posts bodies to the org's URL, one after another.
    async fn post(&self, bodies: &[Value]) {
        for body in bodies {
            assert_eq!(self.webhook.post(self.org, body).await.status, 200);
        }
    }

    fn broadcaster(&self) -> Consumer<Broadcaster> {
        let worker = Broadcaster {
            database: Arc::clone(&self.app),
            connections: self.queues.connections(),
            queues: self.queues.of_broadcasts(),
        };
        self.queues.broadcast_consumer(worker)
    }

    /// Drains the queue of broadcasts until it is dropped.
    async fn broadcast(&self) {
        let broadcaster = self.broadcaster();
        loop {
            let batch = self.queues.take_broadcasts().await;
            if batch.records.is_empty() {
                tokio::task::yield_now().await;
                continue;
            }
            let handles: Vec<_> = batch.records.iter().filter_map(|record| record.receipt_handle.clone()).collect();
            assert_eq!(broadcaster.consume(batch, in_time()).await.batch_item_failures.len(), 0);
            self.queues.delete_broadcasts(&handles).await;
        }
    }

    async fn count(&self, from: &str) -> i64 {
        self.database.count(from).await
    }
}

/// A deadline that is never reached.
fn in_time() -> Instant {
    Instant::now() + Duration::from_mins(5)
}

/// A token for an org.
fn token(org: OrgId, lifetime: Duration) -> String {
    masters().live_tokens().mint(org, "tester", lifetime, Timestamp::now()).unwrap().0
}

/// A real WebSocket client that stores all frames, as the client module does.
struct Viewer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Frames by sequence.
    frames: BTreeMap<String, Value>,
    partials: Vec<Value>,
    cursor: Option<String>,
    /// Number of frames that were pushed more than once.
    repeats: usize,
}

impl Viewer {
    async fn send(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    /// Next message. `None` if the connection was closed.
    async fn next(&mut self) -> Option<Value> {
        loop {
            match tokio::time::timeout(TIMEOUT, self.socket.next()).await.expect("a message") {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return None,
            }
        }
    }

    fn keep(&mut self, frame: Value) {
        assert_eq!(frame["v"], 1, "{frame}");
        match frame["seq"].as_str().map(str::to_owned) {
            Some(seq) => self.repeats += usize::from(self.frames.insert(seq, frame).is_some()),
            None => self.partials.push(frame),
        }
    }

    /// Resumes to the end of the log and stores frames that are pushed in the meantime. Returns the pages, or another
    /// answer.
    async fn resume(&mut self) -> Vec<Value> {
        let mut pages = Vec::new();
        loop {
            self.send(&json!({"action": "resume", "cursor": self.cursor})).await;
            let page = loop {
                let message = self.next().await.expect("an answer");
                if message.get("call_id").is_none() {
                    break message;
                }
                self.keep(message);
            };
            self.cursor = page["cursor"].as_str().map(str::to_owned).or(self.cursor.take());
            let repeats = self.repeats;
            for frame in page["frames"].as_array().cloned().unwrap_or_default() {
                self.keep(frame);
            }
            // A resume repeats some frames by design, in order to miss none.
            self.repeats = repeats;
            let has_more = page["more"] == true;
            pages.push(page);
            if !has_more {
                return pages;
            }
        }
    }

    /// Waits until this number of frames has been received in total.
    async fn wait_for(&mut self, count: usize) {
        while self.frames.len() < count {
            let frame = self.next().await.expect("a frame");
            self.keep(frame);
        }
    }

    /// Types of the frames in the order of the log.
    fn types(&self) -> Vec<&str> {
        self.frames.values().filter_map(|frame| frame["type"].as_str()).collect()
    }
}
