//! A fake of Vapi: its storage, which serves recordings, and its API with assistants, numbers and credentials, as Vapi
//! documents them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// Response for a path.
#[derive(Clone)]
pub enum Reply {
    /// This file.
    File(Vec<u8>),
    /// This file, after a permit is acquired.
    FileLater(Arc<Semaphore>, Vec<u8>),
    /// Only the beginning of a file, with a longer `Content-Length`.
    Beginning(Vec<u8>),
    /// The beginning of a file, after which the response stalls.
    Stalls(Vec<u8>),
    /// A file whose `Content-Length` is this number.
    Claims(u64),
    /// A file of this length, generated while it is sent: the function is called with 0, 1, ... until it returns
    /// `None`.
    Chunks(u64, ChunkMaker),
    /// Only this status.
    Status(u16),
    /// Redirect to this URL.
    Redirect(String),
}

/// Generates a part of a file.
pub type ChunkMaker = Arc<dyn Fn(u64) -> Option<Vec<u8>> + Send + Sync>;

/// API key that Vapi's API accepts.
pub const API_KEY: &str = "a-private-key";

/// A received request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Path.
    pub path: String,
    /// Value of the header `Authorization`.
    pub authorization: Option<String>,
}

#[derive(Default)]
struct Shared {
    replies: Mutex<HashMap<String, Reply>>,
    /// Response for every other path of the storage.
    elsewhere: Option<Reply>,
    /// Assistants, numbers and credentials by path.
    resources: Mutex<BTreeMap<String, Value>>,
    changes: Mutex<Vec<String>>,
    /// Path of the resource whose changes are refused.
    refused: Mutex<Option<String>>,
    asked: Mutex<Vec<Asked>>,
    count: watch::Sender<usize>,
}

/// The server. It answers 404 for an unknown path.
pub struct FakeVapi {
    /// URL without a slash at the end.
    pub url: String,
    shared: Arc<Shared>,
}

impl FakeVapi {
    /// Starts a server on its own port.
    pub async fn start() -> Self {
        Self::serve(Shared::default()).await
    }

    /// Starts a server that answers every path of the storage with the same response.
    pub async fn start_with(reply: Reply) -> Self {
        Self::serve(Shared { elsewhere: Some(reply), ..Shared::default() }).await
    }

    async fn serve(shared: Shared) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(shared);
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// Adds a resource at its path of the API, such as `/assistant/...`.
    pub fn put_resource(&self, path: &str, resource: Value) {
        self.shared.resources.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), resource);
    }

    /// Deletes a resource, as a user of Vapi can.
    pub fn remove_resource(&self, path: &str) {
        self.shared.resources.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    /// Current state of a resource.
    #[must_use]
    pub fn resource(&self, path: &str) -> Option<Value> {
        self.shared.resources.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// From now on, changes of the resource fail.
    pub fn refuse_changes(&self, path: &str) {
        *self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.to_owned());
    }

    /// Requested changes: `PATCH /assistant/...`.
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        self.shared.changes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the response for a path and returns its URL.
    pub fn put(&self, path: &str, reply: Reply) -> String {
        self.shared.replies.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), reply);
        format!("{}{path}", self.url)
    }

    /// Received requests.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until this number of requests has arrived.
    pub async fn until(&self, requests: usize) {
        let mut count = self.shared.count.subscribe();
        let came = count.wait_for(|count| *count >= requests);
        tokio::time::timeout(Duration::from_secs(30), came).await.expect("the requests come in").expect("a count");
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    headers: HeaderMap,
    uri: Uri,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let authorization = headers.get(header::AUTHORIZATION).map(|value| value.to_str().expect("a text").to_owned());
    let reply = shared.replies.lock().unwrap_or_else(PoisonError::into_inner).get(&path).cloned();
    let asked = Asked { path: path.clone(), authorization: authorization.clone() };
    shared.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    shared.count.send_modify(|count| *count += 1);
    match reply.or_else(|| shared.elsewhere.clone()) {
        Some(reply) => give(reply).await,
        None => call_api(&shared, &method, &uri, authorization.as_deref(), &body),
    }
}

/// Vapi's API. It never returns the token of a credential.
fn call_api(shared: &Shared, method: &Method, uri: &Uri, authorization: Option<&str>, body: &[u8]) -> Response {
    const CREDENTIALS: &str = "/credential";
    let path = uri.path();
    let mut resources = shared.resources.lock().unwrap_or_else(PoisonError::into_inner);
    if path != CREDENTIALS && !resources.contains_key(path) {
        return StatusCode::NOT_FOUND.into_response();
    }
    if authorization != Some(&format!("Bearer {API_KEY}")) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    if method != Method::GET {
        shared.changes.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{method} {path}"));
    }
    let refused = shared.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if method == Method::PATCH && refused.as_deref() == Some(path) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let shown = match (method, path) {
        (&Method::GET, CREDENTIALS) => {
            let credentials = resources.iter().filter(|(path, _)| path.starts_with("/credential/"));
            page(credentials.map(|(_, credential)| credential.clone()).collect(), uri.query().unwrap_or_default())
        }
        (&Method::POST, CREDENTIALS) => {
            let token = body["authenticationPlan"]["token"].as_str().expect("a token");
            assert!(token.starts_with("rf_"), "an org's key");
            let (provider, name) = (&body["provider"], &body["name"]);
            let made = json!({"id": "credential-1", "provider": provider, "name": name, "createdAt": "2026-01-01T00:00:00.000Z"});
            resources.insert("/credential/credential-1".to_owned(), made.clone());
            made
        }
        (method, path) => {
            let resource = resources.get_mut(path).expect("looked up above");
            if method == Method::PATCH {
                let changed = body.as_object().expect("an object").clone();
                resource.as_object_mut().expect("an object").extend(changed);
            }
            resource.clone()
        }
    };
    axum::Json(shown).into_response()
}

/// A page of credentials: the newest first, at most `limit` (100 by default), created at `createdAtLe` at the latest.
fn page(mut credentials: Vec<Value>, query: &str) -> Value {
    let parameter = |name: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    let time = |text: &str| text.parse::<jiff::Timestamp>().expect("a time");
    let created = |credential: &Value| credential["createdAt"].as_str().map(time);
    let limit = parameter("limit").map_or(100, |(_, limit)| limit.parse().expect("a number"));
    if let Some((_, latest)) = parameter("createdAtLe") {
        credentials.retain(|credential| created(credential) <= Some(time(latest)));
    }
    credentials.sort_by_key(|credential| std::cmp::Reverse(created(credential)));
    credentials.truncate(limit);
    Value::Array(credentials)
}

async fn give(reply: Reply) -> Response {
    match reply {
        // The code under test must not trust the sender's content type.
        Reply::File(file) => ([(header::CONTENT_TYPE, "text/html")], file).into_response(),
        Reply::FileLater(permits, file) => {
            permits.acquire().await.expect("permits").forget();
            file.into_response()
        }
        Reply::Beginning(file) => {
            let chunks = [Ok(Bytes::from(file)), Err(std::io::Error::other("the storage dies"))];
            Body::from_stream(futures_util::stream::iter(chunks)).into_response()
        }
        Reply::Stalls(file) => {
            let beginning = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(file))]);
            Body::from_stream(beginning.chain(futures_util::stream::pending())).into_response()
        }
        Reply::Claims(bytes) => {
            let never = futures_util::stream::pending::<std::io::Result<Bytes>>();
            ([(header::CONTENT_LENGTH, bytes.to_string())], Body::from_stream(never)).into_response()
        }
        Reply::Chunks(bytes, make) => {
            let parts = (0..).map_while(move |number| make(number).map(Ok::<_, std::io::Error>));
            let body = Body::from_stream(futures_util::stream::iter(parts));
            ([(header::CONTENT_LENGTH, bytes.to_string())], body).into_response()
        }
        Reply::Status(status) => StatusCode::from_u16(status).expect("a status").into_response(),
        Reply::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
    }
}
