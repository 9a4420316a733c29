//! The Lambda Runtime API, which the functions' processes poll: `.../2018-06-01/runtime/...` below each process's own
//! path.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};

use super::environment::{Environment, Handover};
use super::function::Function;
use super::host::Functions;
use super::invocation::InvocationError;
use super::server::{answer, json};

/// Prefix of the processes' paths: `/.rt/{function}/{environment}/{generation}`.
pub(super) const PREFIX: &str = "/.rt/";

/// A request of a process.
struct Call<'a> {
    function: &'a Function,
    index: usize,
    generation: u64,
    /// Path after `.../runtime/`.
    act: &'a str,
}

impl<'a> Call<'a> {
    /// Parses a path without the [`PREFIX`]. `None` if no process has such a path.
    fn read(functions: &'a Functions, path: &'a str) -> Option<Self> {
        let mut parts = path.splitn(4, '/');
        let function = functions.get(parts.next()?)?;
        let (index, generation) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { function, index, generation, act: parts.next()?.strip_prefix("2018-06-01/runtime/")? })
    }
}

/// Answers a process. `path` is the request's path without the [`PREFIX`].
pub(super) async fn serve(functions: &Functions, path: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let Some(call) = Call::read(functions, path) else { return refusal(StatusCode::NOT_FOUND, "no such path") };
    let Some(environment) = call.function.environment(call.index).filter(|it| it.generation() == call.generation)
    else {
        return refusal(StatusCode::GONE, "this environment has another process");
    };
    if (request.method(), call.act) == (&Method::GET, "invocation/next") {
        return next(&call, environment).await;
    }
    let Ok(body) = request.into_body().collect().await else {
        return refusal(StatusCode::BAD_REQUEST, "the body was cut off");
    };
    let result = finish(&call, environment, body.to_bytes());
    result.unwrap_or_else(|| refusal(StatusCode::BAD_REQUEST, "no such invocation"))
}

/// Waits for an invocation, without a time limit.
async fn next(call: &Call<'_>, environment: &Environment) -> Response<Full<Bytes>> {
    let Some(invocation) = call.function.next(call.index, call.generation).await else {
        return refusal(StatusCode::GONE, "this environment has another process");
    };
    let Handover { id, payload, deadline_ms } = environment.begin(invocation, call.function.timeout());
    let response = Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", id.to_string())
        .header("lambda-runtime-deadline-ms", deadline_ms.to_string())
        .header("lambda-runtime-invoked-function-arn", call.function.arn())
        .header("lambda-runtime-trace-id", "Root=1-00000000-000000000000000000000000;Sampled=0");
    response.body(Full::new(payload)).unwrap_or_else(|_| refusal(StatusCode::INTERNAL_SERVER_ERROR, "no header"))
}

/// Handles the result of an invocation, or an error of the init. `None` if the process does not work on that
/// invocation.
fn finish(call: &Call<'_>, environment: &Environment, body: Bytes) -> Option<Response<Full<Bytes>>> {
    let accepted = || json(StatusCode::ACCEPTED, r#"{"status":"OK"}"#);
    if call.act == "init/error" {
        // The process reports an error before it ends. The host acts on the end of the process, and its log has the
        // reason.
        return Some(accepted());
    }
    let (id, kind) = call.act.strip_prefix("invocation/")?.split_once('/')?;
    let answer = match kind {
        "response" => Ok(body),
        "error" => Err(InvocationError::Failed(String::from_utf8_lossy(&body).into_owned())),
        _ => return None,
    };
    environment.finish(id, answer).then(accepted)
}

fn refusal(status: StatusCode, message: &'static str) -> Response<Full<Bytes>> {
    answer(status, "text/plain", message)
}
