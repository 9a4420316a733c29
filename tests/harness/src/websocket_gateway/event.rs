//! Events of a WebSocket API: payload format 1.0.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::extract::Query;
use axum::http::header::{CONNECTION, HOST, UPGRADE, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::closing::Closing;
use super::limits::STAGE;

/// Values of a client that are the same in every event of its connection.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) connection_id: String,
    pub(crate) connected_at: Timestamp,
    source_ip: String,
    user_agent: Option<String>,
    domain_name: String,
}

type Values = BTreeMap<String, Vec<String>>;

impl Caller {
    /// A caller with a new connection id.
    pub(crate) fn new(peer: SocketAddr, headers: &HeaderMap) -> Self {
        let header = |name| headers.get(name).map(|value| text(value.as_bytes()));
        Self {
            connection_id: id(),
            connected_at: Timestamp::now(),
            source_ip: peer.ip().to_string(),
            user_agent: header(USER_AGENT),
            domain_name: header(HOST).unwrap_or_default(),
        }
    }

    /// Identity of the caller in management calls and events.
    pub(crate) fn identity(&self) -> Value {
        let mut identity = json!({ "sourceIp": self.source_ip });
        if let Some(user_agent) = &self.user_agent {
            identity["userAgent"] = json!(user_agent);
        }
        identity
    }

    /// Event of a client that requests a connection.
    pub(crate) fn connect(&self, headers: &HeaderMap, uri: &Uri) -> Value {
        let mut event = self.event("$connect", "CONNECT", []);
        put(&mut event, "headers", "multiValueHeaders", &header_values(headers));
        let parameters = query_values(uri);
        if !parameters.is_empty() {
            put(&mut event, "queryStringParameters", "multiValueQueryStringParameters", &parameters);
        }
        event
    }

    /// Event of a client's message.
    pub(crate) fn message(&self, body: &str) -> Value {
        let mut event = self.event("$default", "MESSAGE", [("messageId", json!(id()))]);
        event["body"] = json!(body);
        event
    }

    /// Event of a connection's end.
    pub(crate) fn disconnect(&self, closing: &Closing) -> Value {
        let details = [("disconnectStatusCode", json!(closing.code)), ("disconnectReason", json!(closing.reason))];
        let mut event = self.event("$disconnect", "DISCONNECT", details);
        let headers = BTreeMap::from([("Host".to_owned(), vec![self.domain_name.clone()])]);
        put(&mut event, "headers", "multiValueHeaders", &headers);
        event
    }

    fn event<const N: usize>(&self, route: &str, kind: &str, details: [(&str, Value); N]) -> Value {
        let (now, request_id) = (Timestamp::now(), id());
        let mut context = json!({
            "routeKey": route,
            "eventType": kind,
            "extendedRequestId": request_id,
            "requestTime": now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "messageDirection": "IN",
            "stage": STAGE,
            "connectedAt": self.connected_at.as_millisecond(),
            "requestTimeEpoch": now.as_millisecond(),
            "identity": self.identity(),
            "requestId": request_id,
            "domainName": self.domain_name,
            "connectionId": self.connection_id,
            "apiId": "fake",
        });
        for (name, value) in details {
            context[name] = value;
        }
        json!({ "requestContext": context, "isBase64Encoded": false })
    }
}

/// An id in API Gateway's format: `L0SM9cOFvHcCIhw=`.
fn id() -> String {
    URL_SAFE.encode(&Uuid::new_v4().as_bytes()[..11])
}

/// Writes values twice, as the payload contains them: the last value of each name, and all values.
fn put(event: &mut Value, last: &str, all: &str, values: &Values) {
    event[last] =
        values.iter().map(|(name, values)| (name.clone(), json!(values.last()))).collect::<Map<_, _>>().into();
    event[all] = json!(values);
}

/// Headers without those of the hop to the gateway.
fn header_values(headers: &HeaderMap) -> Values {
    let mut values = Values::new();
    for (name, value) in headers {
        if name != CONNECTION && name != UPGRADE {
            values.entry(spelled(name)).or_default().push(text(value.as_bytes()));
        }
    }
    values
}

fn query_values(uri: &Uri) -> Values {
    let mut values = Values::new();
    if let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) {
        for (name, value) in pairs {
            values.entry(name).or_default().push(value);
        }
    }
    values
}

/// Header name in the spelling of browsers. The HTTP library does not retain the original spelling.
fn spelled(name: &HeaderName) -> String {
    let word = |word: &str| match word.split_at_checked(1) {
        _ if word == "websocket" => "WebSocket".to_owned(),
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    };
    name.as_str().split('-').map(word).collect::<Vec<_>>().join("-")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
    use axum::http::HeaderValue;

    use super::*;

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "127.0.0.1:9"),
            ("user-agent", "test/1"),
            ("connection", "upgrade"),
            ("sec-websocket-protocol", "ringfence.v1, token"),
            ("x-tag", "a"),
            ("x-tag", "b"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn caller() -> Caller {
        Caller::new("127.0.0.1:7".parse().unwrap(), &headers())
    }

    fn read(event: &Value) -> ApiGatewayWebsocketProxyRequest {
        serde_json::from_value(event.clone()).unwrap()
    }

    #[test]
    fn a_connection_id_is_like_those_of_aws() {
        let id = id();
        assert_eq!(id.len(), "L0SM9cOFvHcCIhw=".len());
        assert!(id.ends_with('='), "{id}");
    }

    #[test]
    fn a_connect_event_is_what_the_functions_library_reads() {
        let caller = caller();
        let event = caller.connect(&headers(), &Uri::from_static("/live?a=1&b=x%20y&a=2"));
        assert_eq!(
            event["multiValueHeaders"],
            json!({
                "Host": ["127.0.0.1:9"], "User-Agent": ["test/1"],
                "Sec-WebSocket-Protocol": ["ringfence.v1, token"], "X-Tag": ["a", "b"],
            })
        );
        assert_eq!(event["headers"]["X-Tag"], "b");
        assert_eq!(event["queryStringParameters"], json!({"a": "2", "b": "x y"}));
        assert_eq!(event["multiValueQueryStringParameters"], json!({"a": ["1", "2"], "b": ["x y"]}));

        let request = read(&event);
        let context = &request.request_context;
        assert_eq!(request.headers["sec-websocket-protocol"], "ringfence.v1, token");
        assert_eq!(request.multi_value_headers.get_all("x-tag").iter().count(), 2);
        assert_eq!(request.query_string_parameters.first("b"), Some("x y"));
        assert_eq!(context.route_key.as_deref(), Some("$connect"));
        assert_eq!(context.event_type.as_deref(), Some("CONNECT"));
        assert_eq!(context.connection_id.as_ref(), Some(&caller.connection_id));
        assert_eq!(context.connected_at, caller.connected_at.as_millisecond());
        assert_eq!(context.identity.source_ip.as_deref(), Some("127.0.0.1"));
        assert_eq!(context.identity.user_agent.as_deref(), Some("test/1"));
        assert_eq!(context.stage.as_deref(), Some(STAGE));
        assert!(!request.is_base64_encoded);
    }

    #[test]
    fn without_a_query_there_are_no_parameters() {
        let event = caller().connect(&headers(), &Uri::from_static("/live"));
        assert_eq!(event.get("queryStringParameters"), None);
        assert_eq!(event.get("multiValueQueryStringParameters"), None);
        assert!(read(&event).query_string_parameters.is_empty());
    }

    #[test]
    fn a_message_event_has_the_text_and_no_headers() {
        let event = caller().message("{\"a\":1}");
        assert_eq!(event.get("headers"), None);
        let request = read(&event);
        assert_eq!(request.body.as_deref(), Some("{\"a\":1}"));
        assert_eq!(request.request_context.route_key.as_deref(), Some("$default"));
        assert_eq!(request.request_context.event_type.as_deref(), Some("MESSAGE"));
        assert!(event["requestContext"]["messageId"].is_string());
    }

    #[test]
    fn a_disconnect_event_has_a_reason() {
        let event = caller().disconnect(&Closing::going_away());
        assert_eq!(event["requestContext"]["disconnectStatusCode"], 1001);
        assert_eq!(event["requestContext"]["disconnectReason"], "Going away");
        let request = read(&event);
        assert_eq!(request.request_context.route_key.as_deref(), Some("$disconnect"));
        assert_eq!(request.request_context.event_type.as_deref(), Some("DISCONNECT"));
    }
}
