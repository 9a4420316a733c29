//! The listener for processes and clients. Their paths distinguish them.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::host::Functions;
use super::{front, runtime_api};

/// Accepts connections until it is dropped. The drop closes every connection.
pub(super) async fn listen(listener: TcpListener, functions: Arc<Functions>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // A client that has disconnected already is no reason to stop.
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(carry(stream, Arc::clone(&functions)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(stream: TcpStream, functions: Arc<Functions>) {
    // Answers are small, and each client waits for its answer.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| serve(&functions, request));
    // It ends when the peer closes the connection.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn serve(functions: &Functions, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().strip_prefix(runtime_api::PREFIX).map(str::to_owned);
    Ok(match path {
        Some(path) => runtime_api::serve(functions, &path, request).await,
        None => front::serve(functions, request).await,
    })
}

/// A response with a JSON body.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    answer(status, "application/json", body)
}

/// A response with a body.
pub(super) fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
