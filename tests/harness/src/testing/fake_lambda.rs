//! A fake of Lambda's Invoke API. It records invocations for the test, or passes them to the function's own code.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::net::TcpListener;

/// An invocation.
#[derive(Clone, Debug, PartialEq)]
pub struct Invoked {
    pub path: String,
    /// `Event` for an asynchronous invocation.
    pub kind: String,
    pub payload: Value,
}

type Handler = Box<dyn Fn(Invoked) -> BoxFuture<'static, Result<Value, String>> + Send + Sync>;

#[derive(Default)]
struct Shared {
    invoked: Mutex<Vec<Invoked>>,
    handler: OnceLock<Handler>,
    reply: Mutex<Value>,
}

/// The fake. Without a function, it accepts every invocation and answers synchronous ones with a reply that the test
/// chooses.
pub struct FakeLambda {
    pub endpoint: String,
    shared: Arc<Shared>,
}

impl FakeLambda {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared::default());
        let router = Router::new().fallback(invoke).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { endpoint, shared }
    }

    /// Passes later invocations to `function`. The fake reports its error as Lambda does.
    pub fn serve<F, R>(&self, function: F)
    where
        F: Fn(Invoked) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, String>> + Send + 'static,
    {
        let handler: Handler = Box::new(move |invoked| Box::pin(function(invoked)));
        assert!(self.shared.handler.set(handler).is_ok(), "one function");
    }

    /// Sets the reply to later synchronous invocations.
    pub fn reply_with(&self, reply: Value) {
        *self.shared.reply.lock().unwrap_or_else(PoisonError::into_inner) = reply;
    }

    /// Recorded invocations.
    #[must_use]
    pub fn invoked(&self) -> Vec<Invoked> {
        self.shared.invoked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn invoke(State(shared): State<Arc<Shared>>, headers: HeaderMap, uri: Uri, payload: Bytes) -> Response {
    let kind = headers.get("x-amz-invocation-type").map(|kind| kind.to_str().expect("a text").to_owned());
    let payload = serde_json::from_slice(&payload).expect("a JSON payload");
    let invoked = Invoked { path: uri.path().to_owned(), kind: kind.unwrap_or_default(), payload };
    let is_awaited = invoked.kind != "Event";
    shared.invoked.lock().unwrap_or_else(PoisonError::into_inner).push(invoked.clone());
    let Some(handler) = shared.handler.get() else {
        let reply = shared.reply.lock().unwrap_or_else(PoisonError::into_inner).clone();
        return if is_awaited { axum::Json(reply).into_response() } else { StatusCode::ACCEPTED.into_response() };
    };
    match handler(invoked).await {
        Ok(answer) => axum::Json(answer).into_response(),
        Err(error) => ([("x-amz-function-error", "Unhandled")], axum::Json(error)).into_response(),
    }
}
