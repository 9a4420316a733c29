//! How long a failed event waits before it is tried again.

use std::time::Duration;

/// No wait is longer than this.
const CAP: Duration = Duration::from_mins(15);

/// Exponential with full jitter: a random time up to `2^receive_count` seconds, at most 15 minutes. Spread out like this, the
/// events of an outage do not come back all at once.
pub(crate) fn delay(receive_count: u32) -> Duration {
    let ceiling = 2u64.saturating_pow(receive_count).min(CAP.as_secs());
    Duration::from_secs(fastrand::u64(1..=ceiling.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_are_never_zero() {
        for count in 0..200 {
            let ceiling = 2u64.saturating_pow(count).min(900);
            for _ in 0..50 {
                assert!((1..=ceiling.max(1)).contains(&delay(count).as_secs()), "{count}");
            }
        }
    }
}
