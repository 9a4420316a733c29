//! A short memory that the database is away, so that an outage costs a webhook milliseconds and not a timeout each.

use std::time::{Duration, SystemTime};

use ringfence_vapi::FailureCode;

/// The last failure to reach the database.
///
/// By the wall clock: an execution environment is frozen between two requests, and a timer with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenCircuit {
    since: SystemTime,
    code: FailureCode,
}

impl OpenCircuit {
    /// The database was found away at `since`.
    pub(crate) fn new(since: SystemTime, code: FailureCode) -> Self {
        Self { since, code }
    }

    /// The failure, while it is remembered. Afterwards one request tries again, and finds the database back or remembers anew.
    pub(crate) fn remembered(&self, now: SystemTime, memory: Duration) -> Option<FailureCode> {
        // A clock that was set back must not make an outage last.
        let age = now.duration_since(self.since).ok()?;
        (age < memory).then_some(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_remembered_for_its_time_and_no_longer() {
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let memory = Duration::from_millis(1_500);
        let outage = OpenCircuit::new(since, FailureCode::DatabaseTimeout);
        for (now, remembered) in [
            (since, true),
            (since + Duration::from_millis(1_499), true),
            (since + memory, false),
            (since + Duration::from_hours(1), false),
            (since - Duration::from_secs(1), false),
        ] {
            let code = remembered.then_some(FailureCode::DatabaseTimeout);
            assert_eq!(outage.remembered(now, memory), code, "{now:?}");
        }
    }
}
