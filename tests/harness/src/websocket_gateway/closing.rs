//! Reasons for the end of a connection.

use axum::extract::ws::{CloseFrame, close_code};

/// End of a connection: the content of its `$disconnect` event and of the close frame for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) code: u16,
    pub(crate) reason: String,
    by_us: bool,
}

impl Closing {
    /// The connection was idle or open for too long, or the gateway stops.
    pub(crate) fn going_away() -> Self {
        Self::by_us(close_code::AWAY, "Going away")
    }

    /// The client sent a binary message.
    pub(crate) fn unsupported() -> Self {
        Self::by_us(close_code::UNSUPPORTED, "Binary messages are not supported")
    }

    /// A message of the client, or a push to it, is over the limit of a frame.
    pub(crate) fn too_big() -> Self {
        Self::by_us(close_code::SIZE, "Message too long")
    }

    /// A management call deleted the connection.
    pub(crate) fn deleted() -> Self {
        Self::by_us(close_code::NORMAL, "Normal closure")
    }

    /// The client disconnected without a close frame.
    pub(crate) fn lost() -> Self {
        Self { code: close_code::ABNORMAL, reason: "Connection closed abnormally".to_owned(), by_us: false }
    }

    /// The client sent a close frame.
    pub(crate) fn by_client(frame: Option<CloseFrame>) -> Self {
        let (code, reason) = frame.map_or_else(
            || (close_code::STATUS, "Client-side close frame status not set".to_owned()),
            |frame| (frame.code, frame.reason.to_string()),
        );
        Self { code, reason, by_us: false }
    }

    /// Close frame for the client. `None` if the client closed the connection or has disconnected.
    pub(crate) fn frame(&self) -> Option<CloseFrame> {
        self.by_us.then(|| CloseFrame { code: self.code, reason: self.reason.as_str().into() })
    }

    fn by_us(code: u16, reason: &str) -> Self {
        Self { code, reason: reason.to_owned(), by_us: true }
    }
}
