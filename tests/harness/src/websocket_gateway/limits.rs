//! Limits of API Gateway.

use std::time::Duration;

/// Name of the only stage, which is the first segment of every path.
pub const STAGE: &str = "live";

/// Maximum size of a message in either direction. A larger push is refused.
pub const MAX_MESSAGE_BYTES: usize = 128 * 1024;

/// Maximum size of a WebSocket frame. A message of a client, which this gateway takes as one frame, and a push are
/// each one frame; a larger one closes the connection.
pub const MAX_FRAME_BYTES: usize = 32 * 1024;

/// Limits for the duration of a connection. The defaults are those of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A connection without a message in either direction for this time is closed with 1001. Pings are not messages.
    pub idle: Duration,
    /// After this time a connection is closed with 1001, even if it is active.
    pub lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle: Duration::from_mins(10), lifetime: Duration::from_hours(2) }
    }
}
