//! The gateway: a server, its connections and its function.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{any, post};
use axum::serve::ListenerExt as _;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::connection::Connections;
use super::function::Function;
use super::limits::{Limits, STAGE};
use super::{connect, management};

/// A running fake of API Gateway's WebSocket API.
///
/// On drop it stops: it closes its sockets with 1001 and does not invoke the function again, not even for these closes.
pub struct FakeWebSocketGateway {
    address: SocketAddr,
    gateway: Arc<Gateway>,
    _running: watch::Sender<()>,
}

/// State that the server's tasks share.
pub(crate) struct Gateway {
    pub(crate) connections: Connections,
    pub(crate) function: Function,
    pub(crate) limits: Limits,
    /// Number of further pushes that fail, and their status.
    failing: Mutex<(usize, StatusCode)>,
    running: watch::Receiver<()>,
}

impl FakeWebSocketGateway {
    /// Listens on an address (port 0: any free one) and calls `invoke` with each event as JSON in API Gateway's format.
    ///
    /// Its `Ok` is the function's answer (`{"statusCode": 200}`), its `Err` the reason why the invocation failed. It
    /// may push to the connection of the event.
    pub async fn start<F, R>(address: SocketAddr, limits: Limits, invoke: F) -> io::Result<Self>
    where
        F: Fn(Value) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, String>> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (keep, running) = watch::channel(());
        let gateway = Arc::new(Gateway {
            connections: Connections::default(),
            function: Function::new(invoke),
            limits,
            failing: Mutex::new((0, StatusCode::OK)),
            running,
        });
        tokio::spawn(serve(listener, Arc::clone(&gateway)));
        Ok(Self { address, gateway, _running: keep })
    }

    /// URL for clients: `ws://127.0.0.1:PORT/live`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}/{STAGE}", self.address)
    }

    /// Endpoint of management calls for an SDK's client: `http://127.0.0.1:PORT/live`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}/{STAGE}", self.address)
    }

    /// Number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.gateway.connections.count()
    }

    /// Makes the next `count` pushes to any connection fail with a status: 429 is `LimitExceededException`, 410 is
    /// `GoneException`, 500 an internal error. Retries of an SDK are pushes, too. An invalid status becomes 500.
    pub fn fail_next_pushes(&self, count: usize, status: u16) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *self.gateway.failing.lock().unwrap_or_else(PoisonError::into_inner) = (count, status);
    }
}

impl Gateway {
    /// Waits until the gateway is dropped.
    pub(crate) async fn stopped(&self) {
        let mut running = self.running.clone();
        while running.changed().await.is_ok() {}
    }

    /// Status of a push that must fail. It decrements the number of pushes to fail.
    pub(crate) fn failing_push(&self) -> Option<StatusCode> {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.0 = failing.0.checked_sub(1)?;
        Some(failing.1)
    }
}

async fn serve(listener: TcpListener, gateway: Arc<Gateway>) {
    let calls = post(management::push).get(management::describe).delete(management::close);
    let router = Router::new()
        .route(&format!("/{STAGE}"), any(connect::connect))
        .route(&format!("/{STAGE}/@connections/{{id}}"), calls)
        .with_state(Arc::clone(&gateway))
        .into_make_service_with_connect_info::<SocketAddr>();
    // Frames are small, and each client waits for its frame.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let served = axum::serve(listener, router).with_graceful_shutdown(async move { gateway.stopped().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the gateway's server failed");
    }
}
