//! Waiting for a condition by polling.

use std::time::{Duration, Instant};

use crate::error::Result;

const POLL: Duration = Duration::from_millis(20);
const EVENTUALLY: Duration = Duration::from_mins(1);

/// Polls until `is_true` returns true. Returns false if the limit passes first.
pub async fn wait_until(limit: Duration, mut is_true: impl AsyncFnMut() -> Result<bool>) -> Result<bool> {
    let start = Instant::now();
    while !is_true().await? {
        if start.elapsed() > limit {
            return Ok(false);
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(true)
}

/// Polls until `look` returns a value.
///
/// # Panics
/// If it returns none within a minute: `what` does not happen.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(start.elapsed() < EVENTUALLY, "not within {} s: {what}", EVENTUALLY.as_secs());
        tokio::time::sleep(POLL).await;
    }
}
