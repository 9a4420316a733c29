//! What API Gateway limits.

use std::time::Duration;

/// The name of the one stage: the first segment of every path.
pub const STAGE: &str = "live";

/// The largest message in either direction.
pub const MAX_MESSAGE_BYTES: usize = 128 * 1024;

/// How long a connection may last. The default is what AWS allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Without a message in either direction for this long, a connection is closed with 1001. Pings are no messages.
    pub idle: Duration,
    /// After this long, a connection is closed with 1001, whatever it does.
    pub lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle: Duration::from_mins(10), lifetime: Duration::from_hours(2) }
    }
}
