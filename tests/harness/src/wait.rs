//! Waiting for a condition by polling.

use std::time::{Duration, Instant};

use crate::error::Result;

const POLL: Duration = Duration::from_millis(20);

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
