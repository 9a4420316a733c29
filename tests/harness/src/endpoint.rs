//! An endpoint of an org, for what is tried with tools: it counts, and answers all requests but the first ones.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::error::{Context, Result};

/// What it answers.
const ANSWER: &str = r#"{"result":"Booked for Tuesday at ten"}"#;

/// The endpoint. It is gone when dropped.
pub struct Endpoint {
    /// Where it is.
    pub url: String,
    requests: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Endpoint {
    /// An endpoint on a port of its own, which never answers its first `silent` requests.
    pub async fn start(silent: usize) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for tool calls")?;
        let url = format!("http://{}/tool", listener.local_addr().context("listen for tool calls")?);
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // An answer is small and somebody waits for it.
                let _ = stream.set_nodelay(true);
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(request, &counted, silent));
                    // It ends when the peer does.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { url, requests, serving })
    }

    /// How many requests came in.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    counted: &AtomicUsize,
    silent: usize,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    // Who sends waits for no answer before it has been read.
    let _ = request.into_body().collect().await;
    if counted.fetch_add(1, Ordering::SeqCst) < silent {
        return std::future::pending().await;
    }
    Ok(Response::new(Full::from(ANSWER)))
}
