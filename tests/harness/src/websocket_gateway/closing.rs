//! Why a connection ended.

use axum::extract::ws::{CloseFrame, close_code};

/// The end of a connection: what its `$disconnect` event says, and what the client is told if it does not know yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) code: u16,
    pub(crate) reason: String,
    by_us: bool,
}

impl Closing {
    /// Idle for too long, open for too long, or the gateway stops.
    pub(crate) fn going_away() -> Self {
        Self::by_us(close_code::AWAY, "Going away")
    }

    /// A binary message.
    pub(crate) fn unsupported() -> Self {
        Self::by_us(close_code::UNSUPPORTED, "Binary messages are not supported")
    }

    /// A message over the limit.
    pub(crate) fn too_big() -> Self {
        Self::by_us(close_code::SIZE, "Message too long")
    }

    /// A management call.
    pub(crate) fn deleted() -> Self {
        Self::by_us(close_code::NORMAL, "Normal closure")
    }

    /// The client left without a word.
    pub(crate) fn lost() -> Self {
        Self { code: close_code::ABNORMAL, reason: "Connection closed abnormally".to_owned(), by_us: false }
    }

    /// The client said that it leaves.
    pub(crate) fn by_client(frame: Option<CloseFrame>) -> Self {
        let (code, reason) = frame.map_or_else(
            || (close_code::STATUS, "Client-side close frame status not set".to_owned()),
            |frame| (frame.code, frame.reason.to_string()),
        );
        Self { code, reason, by_us: false }
    }

    /// What the client is told. None: it knows, or is gone.
    pub(crate) fn frame(&self) -> Option<CloseFrame> {
        self.by_us.then(|| CloseFrame { code: self.code, reason: self.reason.as_str().into() })
    }

    fn by_us(code: u16, reason: &str) -> Self {
        Self { code, reason: reason.to_owned(), by_us: true }
    }
}
