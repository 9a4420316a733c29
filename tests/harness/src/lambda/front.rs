//! HTTP front of the host: API Gateway with the template's routes, and Lambda's Invoke API.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Response, StatusCode};

use super::gateway::{self, Answer};
use super::host::Functions;
use super::invocation;
use super::server::json;
use crate::error::{Context, Result};

/// Routes of the template and their functions. A path variable matches one segment.
const ROUTES: [(&str, &str); 3] =
    [("POST /vapi/{org_id}", "webhook"), ("POST /vapi", "webhook"), ("GET /health", "health")];

const NOT_FOUND: &str = r#"{"message":"Not Found"}"#;

/// Answers a client's request.
pub(super) async fn serve(functions: &Functions, request: hyper::Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return json(StatusCode::BAD_REQUEST, r#"{"message":"Bad Request"}"#) };
    let (body, path) = (body.to_bytes(), head.uri.path());
    if let Some(name) = invoked_function(path) {
        return raw_answer(functions.invoke(name, body).await);
    }
    let matched = ROUTES
        .into_iter()
        .find_map(|(route, function)| Some((route, function, path_parameters(route, head.method.as_str(), path)?)));
    let Some((route, function, path_parameters)) = matched else { return json(StatusCode::NOT_FOUND, NOT_FOUND) };
    let event = gateway::Request {
        route,
        path_parameters,
        path_and_query: head.uri.path_and_query().map_or(path, |it| it.as_str()),
        headers: joined(&head.headers),
        body: &body,
    };
    let answer = match event.event() {
        Ok(event) => functions.invoke(function, event).await.context("invoke the function"),
        Err(error) => Err(error),
    };
    answer
        .and_then(|answer| http_answer(&answer))
        .unwrap_or_else(|_| bad_gateway(r#"{"message":"Bad Gateway"}"#.into()))
}

/// Name of the function in `/2015-03-31/functions/{name}/invocations`.
fn invoked_function(path: &str) -> Option<&str> {
    path.strip_prefix("/2015-03-31/functions/")?.strip_suffix("/invocations")
}

/// Response to a raw invocation. Lambda answers a failed invocation with 200 and a header; here it is an error status.
fn raw_answer(answer: invocation::Answer) -> Response<Full<Bytes>> {
    match answer {
        Ok(answer) => json(StatusCode::OK, answer),
        Err(error) => {
            let message = serde_json::json!({ "errorMessage": error.to_string() }).to_string();
            bad_gateway(message.into())
        }
    }
}

fn bad_gateway(body: Bytes) -> Response<Full<Bytes>> {
    json(StatusCode::BAD_GATEWAY, body)
}

/// Values of the path variables of a route, not decoded. `None` if the route does not match.
fn path_parameters<'a>(route: &'a str, method: &str, path: &'a str) -> Option<BTreeMap<&'a str, &'a str>> {
    let pattern = route.strip_prefix(method)?.strip_prefix(' ')?;
    let mut parameters = BTreeMap::new();
    let mut segments = path.split('/');
    for part in pattern.split('/') {
        let segment = segments.next()?;
        let variable = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        match variable {
            Some(name) if !segment.is_empty() => {
                parameters.insert(name, segment);
            }
            None if part == segment => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(parameters)
}

/// Joins the values of each header by commas. hyper's names are in lower case already.
fn joined(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let values = |name| {
        let values = headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect::<Vec<_>>().join(",")
    };
    headers.keys().map(|name| (name.as_str(), values(name))).collect()
}

/// Converts a function's answer to an HTTP response.
fn http_answer(answer: &[u8]) -> Result<Response<Full<Bytes>>> {
    let answer = Answer::read(answer)?;
    let mut response = Response::builder().status(answer.status_code);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(answer.into_body()?)).context("write the function's answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_variable_stands_for_one_segment() {
        let found = |method, path| path_parameters("POST /vapi/{org_id}", method, path);
        assert_eq!(found("POST", "/vapi/8d1c"), Some(BTreeMap::from([("org_id", "8d1c")])));
        for (method, path) in [("GET", "/vapi/8d1c"), ("POST", "/vapi"), ("POST", "/vapi/"), ("POST", "/vapi/8d1c/x")] {
            assert_eq!(found(method, path), None, "{method} {path}");
        }
        assert_eq!(path_parameters("POST /vapi", "POST", "/vapi"), Some(BTreeMap::new()));
    }
}
