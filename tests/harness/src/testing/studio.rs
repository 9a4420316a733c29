//! Where recordings come from: a real HTTP server that plays Vapi's storage, and a fake of Vapi's API, which cannot be had here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
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
    /// Nothing but this status.
    Status(u16),
    /// Somewhere else.
    Redirect(String),
}

/// A request as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its path.
    pub path: String,
    /// Its `Authorization`.
    pub authorization: Option<String>,
}

struct Shared {
    replies: Mutex<HashMap<String, Reply>>,
    asked: Mutex<Vec<Asked>>,
    count: watch::Sender<usize>,
}

/// The server. Whatever is not there is answered 404.
pub struct TestStudio {
    /// Where it is, without a slash at the end.
    pub url: String,
    shared: Arc<Shared>,
}

impl TestStudio {
    /// A server on a port of its own.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared =
            Arc::new(Shared { replies: Mutex::default(), asked: Mutex::default(), count: watch::Sender::new(0) });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
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

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, uri: Uri) -> Response {
    let path = uri.path().to_owned();
    let authorization = headers.get(header::AUTHORIZATION).map(|value| value.to_str().expect("a text").to_owned());
    let reply = shared.replies.lock().unwrap_or_else(PoisonError::into_inner).get(&path).cloned();
    shared.asked.lock().unwrap_or_else(PoisonError::into_inner).push(Asked { path, authorization });
    shared.count.send_modify(|count| *count += 1);
    match reply {
        None => StatusCode::NOT_FOUND.into_response(),
        // What a sender calls its file is not believed.
        Some(Reply::File(file)) => ([(header::CONTENT_TYPE, "text/html")], file).into_response(),
        Some(Reply::FileLater(permits, file)) => {
            permits.acquire().await.expect("permits").forget();
            file.into_response()
        }
        Some(Reply::Beginning(file)) => {
            let chunks = [Ok(Bytes::from(file)), Err(std::io::Error::other("the storage dies"))];
            Body::from_stream(futures_util::stream::iter(chunks)).into_response()
        }
        Some(Reply::Stalls(file)) => {
            let beginning = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(file))]);
            Body::from_stream(beginning.chain(futures_util::stream::pending())).into_response()
        }
        Some(Reply::Claims(bytes)) => {
            let never = futures_util::stream::pending::<std::io::Result<Bytes>>();
            ([(header::CONTENT_LENGTH, bytes.to_string())], Body::from_stream(never)).into_response()
        }
        Some(Reply::Status(status)) => StatusCode::from_u16(status).expect("a status").into_response(),
        Some(Reply::Redirect(to)) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
    }
}
