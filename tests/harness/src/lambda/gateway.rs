//! Events and answers between API Gateway and a function: payload format 2.0 of HTTP APIs.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Context, Result};

/// A request to an HTTP API.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Route that the request matched, such as `POST /vapi/{org_id}`.
    pub route: &'a str,
    /// Values of the route's path variables.
    pub path_parameters: BTreeMap<&'a str, &'a str>,
    /// The path and, after a question mark, the query.
    pub path_and_query: &'a str,
    /// Headers with names in lower case. The values of one name are joined by commas.
    pub headers: BTreeMap<&'a str, String>,
    pub body: &'a [u8],
}

/// Answer of a function for the client.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) status_code: u16,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    version: &'static str,
    route_key: &'a str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    headers: &'a BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    query_string_parameters: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    path_parameters: &'a BTreeMap<&'a str, &'a str>,
    request_context: RequestContext<'a>,
    body: Text<'a>,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    account_id: &'static str,
    api_id: &'static str,
    domain_name: &'a str,
    domain_prefix: &'static str,
    http: Http<'a>,
    request_id: Uuid,
    route_key: &'a str,
    stage: &'static str,
    time: String,
    time_epoch: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'a> {
    method: &'a str,
    path: &'a str,
    protocol: &'static str,
    source_ip: &'static str,
    user_agent: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Text<'a> {
    Plain(&'a str),
    Encoded(String),
}

impl Request<'_> {
    /// Event for the function, as JSON.
    pub fn event(&self) -> Result<Bytes> {
        let (path, query) = self.path_and_query.split_once('?').unwrap_or((self.path_and_query, ""));
        let header = |name| self.headers.get(name).map(String::as_str).unwrap_or_default();
        let now = Timestamp::now();
        let body = self.text();
        let event = Event {
            version: "2.0",
            route_key: self.route,
            raw_path: path,
            raw_query_string: query,
            headers: &self.headers,
            query_string_parameters: parameters(query),
            path_parameters: &self.path_parameters,
            request_context: RequestContext {
                account_id: "000000000000",
                api_id: "ringfence",
                domain_name: header("host"),
                domain_prefix: "ringfence",
                http: Http {
                    method: self.route.split(' ').next().unwrap_or_default(),
                    path,
                    protocol: "HTTP/1.1",
                    source_ip: "127.0.0.1",
                    user_agent: header("user-agent"),
                },
                request_id: Uuid::new_v4(),
                route_key: self.route,
                stage: "$default",
                time: now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
                time_epoch: now.as_millisecond(),
            },
            is_base64_encoded: matches!(body, Text::Encoded(_)),
            body,
        };
        serde_json::to_vec(&event).map(Bytes::from).context("write the event")
    }

    /// The body: as text if its content type is textual, else as base64.
    fn text(&self) -> Text<'_> {
        let content_type = self.headers.get("content-type").map(String::as_str).unwrap_or_default();
        let is_text = content_type.starts_with("text/") || content_type.starts_with("application/json");
        let text = std::str::from_utf8(self.body).ok().filter(|_| is_text);
        text.map_or_else(|| Text::Encoded(STANDARD.encode(self.body)), Text::Plain)
    }
}

impl Answer {
    /// Parses a function's answer.
    pub(super) fn read(answer: &[u8]) -> Result<Self> {
        serde_json::from_slice(answer).context("read the function's answer")
    }

    /// Decodes the body.
    pub(super) fn into_body(self) -> Result<Bytes> {
        let body = self.body.unwrap_or_default();
        if self.is_base64_encoded {
            return STANDARD.decode(body).map(Bytes::from).context("read the answer's body");
        }
        Ok(body.into())
    }
}

/// Decoded parameters of the query. The values of one name are joined by commas.
fn parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters: BTreeMap<String, String> = BTreeMap::new();
    if query.is_empty() {
        return parameters;
    }
    let Ok(url) = Url::parse(&format!("http://host/?{query}")) else { return parameters };
    for (name, value) in url.query_pairs() {
        parameters
            .entry(name.into_owned())
            .and_modify(|values| *values = format!("{values},{value}"))
            .or_insert_with(|| value.into_owned());
    }
    parameters
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(content_type: &str, body: &[u8]) -> Value {
        let request = Request {
            route: "POST /vapi/{org_id}",
            path_parameters: BTreeMap::from([("org_id", "8d1c")]),
            path_and_query: "/vapi/8d1c?v=2&tag=a%20b&tag=c",
            headers: BTreeMap::from([("content-type", content_type.to_owned()), ("host", "h:1".to_owned())]),
            body,
        };
        serde_json::from_slice(&request.event().unwrap()).unwrap()
    }

    #[test]
    fn a_request_is_an_event_of_format_2() {
        let mut event = event("application/json; charset=utf-8", b"{\"a\":1}");
        let context = event["requestContext"].take();
        assert_eq!(
            event,
            json!({
                "version": "2.0", "routeKey": "POST /vapi/{org_id}", "rawPath": "/vapi/8d1c",
                "rawQueryString": "v=2&tag=a%20b&tag=c", "requestContext": null,
                "headers": {"content-type": "application/json; charset=utf-8", "host": "h:1"},
                "queryStringParameters": {"v": "2", "tag": "a b,c"}, "pathParameters": {"org_id": "8d1c"},
                "body": "{\"a\":1}", "isBase64Encoded": false,
            })
        );
        assert_eq!(context["http"]["method"], "POST");
        assert_eq!(context["http"]["path"], "/vapi/8d1c");
    }

    #[test]
    fn binary_data_is_encoded() {
        for (content_type, body) in [("application/octet-stream", b"plain".as_slice()), ("application/json", b"\xff")] {
            let event = event(content_type, body);
            assert_eq!(event["isBase64Encoded"], true, "{content_type}");
            assert_eq!(event["body"], STANDARD.encode(body));
        }
    }

    #[test]
    fn an_answers_body_is_decoded() {
        let answer = |text: &str| Answer::read(text.as_bytes()).unwrap().into_body().unwrap();
        assert_eq!(answer(r#"{"statusCode":200,"headers":{"a":"b"},"body":"{}","cookies":[]}"#), "{}");
        assert_eq!(answer(r#"{"statusCode":200,"body":"e30=","isBase64Encoded":true}"#), "{}");
        assert_eq!(answer(r#"{"statusCode":204,"body":null}"#), "");
        assert!(Answer::read(b"null").is_err());
    }
}
