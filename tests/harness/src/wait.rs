//! Waiting for something that nothing announces.

use std::time::{Duration, Instant};

use crate::error::Result;

const POLL: Duration = Duration::from_millis(20);

/// Asks again and again until `is_true` says so. False: the limit passed first.
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
