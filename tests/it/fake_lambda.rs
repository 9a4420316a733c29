//! A fake of Lambda's Invoke API, which cannot be had here: it keeps what was invoked, for a test to look at or to carry out.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
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

type Kept = Arc<Mutex<Vec<Invoked>>>;

/// The fake.
pub(crate) struct FakeLambda {
    pub(crate) endpoint: String,
    invoked: Kept,
}

impl FakeLambda {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let invoked = Kept::default();
        let router = Router::new().fallback(invoke).with_state(Arc::clone(&invoked));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { endpoint, invoked }
    }

    /// What was invoked.
    pub(crate) fn invoked(&self) -> Vec<Invoked> {
        self.invoked.lock().unwrap().clone()
    }
}

async fn invoke(State(invoked): State<Kept>, headers: HeaderMap, uri: Uri, payload: Bytes) -> StatusCode {
    let kind = headers.get("x-amz-invocation-type").map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
    let payload = serde_json::from_slice(&payload).unwrap();
    invoked.lock().unwrap().push(Invoked { path: uri.path().to_owned(), kind, payload });
    StatusCode::ACCEPTED
}
