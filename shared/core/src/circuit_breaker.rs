//! The circuit breaker. While it is open, a request fails at once and does not wait for an unavailable database.

use std::time::{Duration, SystemTime};

use ringfence_vapi::FailureCode;

/// The latest failure to reach the database.
///
/// Uses the wall clock, because a monotonic clock stops while the execution environment is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenCircuit {
    since: SystemTime,
    code: FailureCode,
}

impl OpenCircuit {
    /// The database was found unavailable at `since`.
    pub(crate) fn new(since: SystemTime, code: FailureCode) -> Self {
        Self { since, code }
    }

    /// The failure, while the circuit is open. Afterwards one request connects again, and closes or reopens the
    /// circuit.
    pub(crate) fn failure_while_open(&self, now: SystemTime, open_time: Duration) -> Option<FailureCode> {
        // If the clock was set back, the circuit closes.
        let age = now.duration_since(self.since).ok()?;
        (age < open_time).then_some(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_circuit_closes_after_its_time() {
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let open_time = Duration::from_millis(1_500);
        let circuit = OpenCircuit::new(since, FailureCode::DatabaseTimeout);
        for (now, is_open) in [
            (since, true),
            (since + Duration::from_millis(1_499), true),
            (since + open_time, false),
            (since + Duration::from_hours(1), false),
            (since - Duration::from_secs(1), false),
        ] {
            let code = is_open.then_some(FailureCode::DatabaseTimeout);
            assert_eq!(circuit.failure_while_open(now, open_time), code, "{now:?}");
        }
    }
}
