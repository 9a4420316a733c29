//! Gateway of viewers: a fake of API Gateway's WebSocket API in front of the function `live`.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use crate::websocket_gateway::{FakeWebSocketGateway, Limits, STAGE};
use rustix::process::Signal;
use serde_json::Value;

use super::command::this_program;
use super::layout::Layout;
use super::process::{Record, Service};
use super::{http, progress};
use crate::error::{Context, Result};

/// Timeout of an invocation, as in the template.
const INVOCATION_TIMEOUT: Duration = Duration::from_secs(30);
const START_LIMIT: Duration = Duration::from_secs(10);

/// The gateway as a background process: this tool with its hidden verb `gateway`.
pub struct Gateway {
    service: Service,
}

impl Gateway {
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        Self { service: Service::new(layout, "gateway") }
    }

    /// Port on which it listens, or will listen after its next start.
    pub fn port(&self) -> Result<u16> {
        self.service.running()?.map_or_else(|| self.service.free_port(), |record: Record| Ok(record.port))
    }

    /// Restarts the gateway, because a running one may use an outdated address of the functions. Waits until it
    /// listens.
    pub async fn start(&self, port: u16, base_url: &str) -> Result<()> {
        self.stop().await?;
        progress("Starting the gateway of viewers");
        let mut gateway = Command::new(this_program()?);
        gateway.args(["gateway", "--port", &port.to_string(), "--base-url", base_url]);
        self.service.spawn(&mut gateway, port)?;
        let listens = async || Ok(tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok());
        self.service.wait_until(START_LIMIT, listens).await
    }

    /// Stops the gateway. Returns false if it was not running.
    pub async fn stop(&self) -> Result<bool> {
        self.service.stop(Signal::TERM).await
    }

    /// Background process of the gateway.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }
}

/// URL for viewers.
#[must_use]
pub fn live_url(port: u16) -> String {
    format!("ws://127.0.0.1:{port}/{STAGE}")
}

/// Endpoint at which functions push.
#[must_use]
pub fn connections_endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}/{STAGE}")
}

/// Serves viewers until it is dropped. `base_url` is the URL of the functions.
pub async fn serve(port: u16, base_url: &str) -> Result<FakeWebSocketGateway> {
    let http = http::client(INVOCATION_TIMEOUT)?;
    let url = format!("{base_url}/2015-03-31/functions/live/invocations");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let gateway = FakeWebSocketGateway::start(address, Limits::default(), move |event: Value| {
        let request = http.post(&url).json(&event);
        async move {
            let answer = request.send().await.and_then(reqwest::Response::error_for_status);
            let answer = answer.map_err(|error| error.without_url().to_string())?;
            answer.json().await.map_err(|error: reqwest::Error| error.without_url().to_string())
        }
    });
    gateway.await.context("listen for viewers")
}
