//! A fake of Vapi, which cannot be had here: its storage, which gives out recordings, and its API with assistants, numbers and
//! credentials, as Vapi documents them.

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

/// What is under a path.
#[derive(Clone)]
pub enum Reply {
    /// This file.
    File(Vec<u8>),
    /// This file, once there is a permit for it.
    FileLater(Arc<Semaphore>, Vec<u8>),
    /// Only so much of a file that is said to be longer.
    Beginning(Vec<u8>),
    /// The beginning of a file, and then nothing.
    Stalls(Vec<u8>),
    /// A file that is said to be so long.
    Claims(u64),
    /// A file of this length, made while it is sent: the function is called with 0, 1, ... until it returns nothing.
    Chunks(u64, ChunkMaker),
    /// Nothing but this status.
    Status(u16),
    /// Somewhere else.
    Redirect(String),
}

/// Makes a part of a file.
pub type ChunkMaker = Arc<dyn Fn(u64) -> Option<Vec<u8>> + Send + Sync>;

/// The key that Vapi's API takes.
pub const API_KEY: &str = "a-private-key";

/// A request as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its path.
    pub path: String,
    /// Its `Authorization`.
    pub authorization: Option<String>,
}

#[derive(Default)]
struct Shared {
    replies: Mutex<HashMap<String, Reply>>,
    /// Under every other path of the storage.
    elsewhere: Option<Reply>,
    /// Assistants, numbers and credentials by their paths.
    resources: Mutex<BTreeMap<String, Value>>,
    changes: Mutex<Vec<String>>,
    asked: Mutex<Vec<Asked>>,
    count: watch::Sender<usize>,
}

/// The server. A path with nothing under it is answered 404.
pub struct FakeVapi {
    /// Where it is, without a slash at the end.
    pub url: String,
    shared: Arc<Shared>,
}

impl FakeVapi {
    /// A server on a port of its own.
    pub async fn start() -> Self {
        Self::serve(Shared::default()).await
    }

    /// A server that gives the same under every path.
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

    /// Puts a resource under its path of the API, `/assistant/...` say.
    pub fn put_resource(&self, path: &str, resource: Value) {
        self.shared.resources.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), resource);
    }

    /// Deletes a resource, as somebody at Vapi would.
    pub fn remove_resource(&self, path: &str) {
        self.shared.resources.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    /// A resource as it is now.
    #[must_use]
    pub fn resource(&self, path: &str) -> Option<Value> {
        self.shared.resources.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// The changes that were asked of the API: `PATCH /assistant/...`.
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        self.shared.changes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts something under a path, in the place of what was there, and returns its URL.
    pub fn put(&self, path: &str, reply: Reply) -> String {
        self.shared.replies.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), reply);
        format!("{}{path}", self.url)
    }

    /// What came in.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many requests came in.
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
        None => call_api(&shared, &method, &path, authorization.as_deref(), &body),
    }
}

/// Vapi's API. It tells no token of a credential again.
fn call_api(shared: &Shared, method: &Method, path: &str, authorization: Option<&str>, body: &[u8]) -> Response {
    const CREDENTIALS: &str = "/credential";
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
    let shown = match (method, path) {
        (&Method::GET, CREDENTIALS) => {
            let credentials = resources.iter().filter(|(path, _)| path.starts_with("/credential/"));
            credentials.map(|(_, credential)| credential.clone()).collect()
        }
        (&Method::POST, CREDENTIALS) => {
            let token = body["authenticationPlan"]["token"].as_str().expect("a token");
            assert!(token.starts_with("rf_"), "an org's key");
            let made = json!({"id": "credential-1", "provider": body["provider"], "name": body["name"]});
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

async fn give(reply: Reply) -> Response {
    match reply {
        // What a sender calls its file is not believed.
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
