//! The delay before a failed record is retried.

use std::time::Duration;

/// Exponential with full jitter: a random time up to `2^receive_count` seconds, at most the cap. The jitter keeps the
/// queued events of an outage from being retried all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest delay.
    pub cap_seconds: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { cap_seconds: 15 * 60 }
    }
}

impl Backoff {
    /// The delay after a message was received for the `receive_count`th time, in whole seconds as SQS needs them.
    #[must_use]
    pub fn delay(self, receive_count: u32) -> Duration {
        Duration::from_secs(fastrand::u64(1..=self.ceiling_seconds(receive_count)))
    }

    fn ceiling_seconds(self, receive_count: u32) -> u64 {
        2u64.saturating_pow(receive_count).min(self.cap_seconds).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::LAST_RECEIVE;

    #[test]
    fn waits_grow_to_the_cap_and_are_never_zero() {
        for count in 0..200 {
            let ceiling = 2u64.saturating_pow(count).min(900);
            for _ in 0..50 {
                assert!((1..=ceiling.max(1)).contains(&Backoff::default().delay(count).as_secs()), "{count}");
            }
        }
    }

    /// D1: the receives of a queue last more than twelve hours, also if only every third of them is an attempt, because a
    /// slow database leaves no time for the others. With full jitter the delays are half of their ceilings on average.
    #[test]
    fn the_receives_of_a_queue_outlast_twelve_hours() {
        let ceilings: u64 = (1..LAST_RECEIVE / 3).map(|count| Backoff::default().ceiling_seconds(count)).sum();
        assert!(ceilings / 2 > 12 * 60 * 60, "{ceilings}");
    }
}
