//! A fake of Lambda's Invoke API, which cannot be had here: it keeps what was invoked, for a test to look at or to carry out.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::Value;
use tokio::net::TcpListener;

/// One invocation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Invoked {
    pub(crate) path: String,
    /// `Event`: nobody waits for its answer.
    pub(crate) kind: String,
    pub(crate) payload: Value,
}

type Kept = Arc<Mutex<State>>;

#[derive(Default)]
struct State {
    invoked: Vec<Invoked>,
    reply: Value,
}

/// The fake.
pub(crate) struct FakeLambda {
    pub(crate) endpoint: String,
    kept: Kept,
}

impl FakeLambda {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let kept = Kept::default();
        let router = Router::new().fallback(invoke).with_state(Arc::clone(&kept));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { endpoint, kept }
    }

    /// What was invoked.
    pub(crate) fn invoked(&self) -> Vec<Invoked> {
        self.kept.lock().unwrap().invoked.clone()
    }

    /// What the function replies to whoever waits for it.
    pub(crate) fn reply_with(&self, reply: Value) {
        self.kept.lock().unwrap().reply = reply;
    }
}

async fn invoke(
    extract::State(kept): extract::State<Kept>,
    headers: HeaderMap,
    uri: Uri,
    payload: Bytes,
) -> (StatusCode, String) {
    let kind = headers.get("x-amz-invocation-type").map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
    let payload = serde_json::from_slice(&payload).unwrap();
    let mut kept = kept.lock().unwrap();
    let reply =
        if kind == "Event" { (StatusCode::ACCEPTED, String::new()) } else { (StatusCode::OK, kept.reply.to_string()) };
    kept.invoked.push(Invoked { path: uri.path().to_owned(), kind, payload });
    reply
}
