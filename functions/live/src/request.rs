//! The messages of clients.

use aws_lambda_events::http::HeaderMap;
use serde::Deserialize;

/// The subprotocol. A browser cannot set headers on a WebSocket request, so the token follows the subprotocol in the
/// same header.
pub(crate) const PROTOCOL: &str = "ringfence.v1";

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub(crate) enum Action {
    /// Asks for a `pong`.
    Ping,
    /// Asks for the log since `cursor`, or without a cursor for the current end of the log.
    Resume {
        #[serde(default)]
        cursor: Option<String>,
    },
}

impl Action {
    /// None: not a message of this protocol.
    pub(crate) fn read(body: &str) -> Option<Self> {
        serde_json::from_str(body).ok()
    }
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
        assert_eq!(Action::read(r#"{"action":"ping"}"#), Some(Action::Ping));
        let resume = |cursor: Option<&str>| Some(Action::Resume { cursor: cursor.map(str::to_owned) });
        assert_eq!(Action::read(r#"{"action":"resume","cursor":"7"}"#), resume(Some("7")));
        assert_eq!(Action::read(r#"{"action":"resume","cursor":null}"#), resume(None));
        assert_eq!(Action::read(r#"{"action":"resume"}"#), resume(None));
        for other in ["", "{}", "[]", r#"{"action":"shout"}"#, r#"{"action":"resume","cursor":7}"#] {
            assert_eq!(Action::read(other), None, "{other}");
        }
    }
}
