//! An endpoint of an org: a real HTTP server whose behaviour the test chooses.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::serve::ListenerExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// Behaviour of the endpoint.
#[derive(Clone)]
pub enum Manner {
    /// Answers with status 200 and this value.
    Answers(Value),
    /// Answers with status 200 and the name and the arguments of the tool call that it received: `NAME did ARGUMENTS`.
    Repeats,
    /// Answers with this status and text.
    Fails(u16, String),
    /// Never answers.
    Hangs,
    /// Answers with an endless body.
    Endless,
    /// Answers with status 200 and closes the connection in the middle of the body.
    BreaksOff,
    /// Redirects to this URL.
    Redirects(String),
    /// Answers with status 200 and this value after it has acquired a permit.
    Waits(Arc<Semaphore>, Value),
    /// Answers with status 200 and this value when this number of requests are in progress.
    Together(usize, Value),
}

/// A received request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Headers.
    pub headers: HeaderMap,
    /// Body as text.
    pub text: String,
    /// Body as JSON.
    pub body: Value,
}

struct Shared {
    manner: Mutex<Manner>,
    requests: Mutex<Vec<Request>>,
    count: watch::Sender<usize>,
}

/// The endpoint. It stops on drop.
pub struct TestEndpoint {
    /// Its URL.
    pub url: String,
    shared: Arc<Shared>,
}

impl TestEndpoint {
    /// Starts an endpoint on its own port.
    pub async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let shared =
            Arc::new(Shared { manner: Mutex::new(manner), requests: Mutex::default(), count: watch::Sender::new(0) });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        // Answers are small, and each client waits for its answer.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// Changes the behaviour.
    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// Received requests.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Number of received requests.
    #[must_use]
    pub fn count(&self) -> usize {
        *self.shared.count.borrow()
    }

    /// Waits until this number of requests has arrived.
    pub async fn until(&self, requests: usize) {
        let mut count = self.shared.count.subscribe();
        let came = count.wait_for(|count| *count >= requests);
        tokio::time::timeout(Duration::from_secs(30), came).await.expect("the requests come in").expect("a count");
    }
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = String::from_utf8_lossy(&body).into_owned();
    let request = Request { headers, body: serde_json::from_str(&text).unwrap_or_default(), text };
    shared.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    shared.count.send_modify(|count| *count += 1);
    let manner = shared.manner.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match manner {
        Manner::Answers(value) => value.to_string().into_response(),
        Manner::Repeats => {
            let data = &request.body["data"];
            let done = format!("{} did {}", data["name"].as_str().unwrap_or_default(), data["arguments"]);
            json!({ "result": done }).to_string().into_response()
        }
        Manner::Fails(status, text) => (StatusCode::from_u16(status).expect("a status"), text).into_response(),
        Manner::Hangs => std::future::pending().await,
        Manner::Endless => {
            let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 4096])));
            Body::from_stream(chunks).into_response()
        }
        Manner::BreaksOff => {
            let chunks = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("the endpoint dies"))];
            Body::from_stream(futures_util::stream::iter(chunks)).into_response()
        }
        Manner::Redirects(to) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response(),
        Manner::Waits(permits, value) => {
            permits.acquire().await.expect("permits").forget();
            value.to_string().into_response()
        }
        Manner::Together(many, value) => {
            let mut count = shared.count.subscribe();
            count.wait_for(|count| *count >= many).await.expect("a count");
            value.to_string().into_response()
        }
    }
}
