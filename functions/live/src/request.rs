//! The messages of clients.

use aws_lambda_events::http::HeaderMap;
use ringfence_protocol::live::ClientMessage;

/// The subprotocol. A browser cannot set headers on a WebSocket request, so the token follows the subprotocol in the
/// same header.
pub(crate) const PROTOCOL: &str = "ringfence.v1";

/// None: not a message of this protocol.
pub(crate) fn read(body: &str) -> Option<ClientMessage> {
    serde_json::from_str(body).ok()
}

/// The token in `Sec-WebSocket-Protocol: ringfence.v1, {token}`.
pub(crate) fn offered_token(headers: &HeaderMap) -> Option<&str> {
    let offered = headers.get("sec-websocket-protocol")?.to_str().ok()?;
    let (protocol, token) = offered.split_once(',')?;
    (protocol.trim() == PROTOCOL).then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(value: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("Sec-WebSocket-Protocol", value.parse().ok()?);
        offered_token(&headers).map(str::to_owned)
    }

    #[test]
    fn the_token_follows_the_protocol() {
        assert_eq!(offered("ringfence.v1, a.b.c").as_deref(), Some("a.b.c"));
        assert_eq!(offered("ringfence.v1,a.b.c").as_deref(), Some("a.b.c"));
        for other in ["ringfence.v1", "a.b.c", "ringfence.v2, a.b.c", ""] {
            assert_eq!(offered(other), None, "{other}");
        }
        assert_eq!(offered_token(&HeaderMap::new()), None);
    }

    #[test]
    fn only_messages_of_the_protocol_are_read() {
        assert_eq!(read(r#"{"action":"ping"}"#), Some(ClientMessage::Ping));
        let resume = |cursor: Option<&str>| Some(ClientMessage::Resume { cursor: cursor.map(str::to_owned) });
        assert_eq!(read(r#"{"action":"resume","cursor":"7"}"#), resume(Some("7")));
        assert_eq!(read(r#"{"action":"resume","cursor":null}"#), resume(None));
        assert_eq!(read(r#"{"action":"resume"}"#), resume(None));
        for other in ["", "{}", "[]", r#"{"action":"shout"}"#, r#"{"action":"resume","cursor":7}"#] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
