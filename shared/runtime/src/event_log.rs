//! What is said of an event after it was handled: one log line, and a report to Sentry where it failed for good.

use std::time::Instant;

use ringfence_core::{Failure, Outcome};
use ringfence_protocol::Delivery;
use ringfence_vapi::{FailureClass, OrgId};

use crate::metrics::Metric;
use crate::sentry::{self, FailedTransaction};

/// The log line of an event that is being handled.
pub(crate) struct EventLog<'a> {
    delivery: &'a Delivery,
    started: Instant,
}

impl<'a> EventLog<'a> {
    pub(crate) fn start(delivery: &'a Delivery) -> Self {
        Self { delivery, started: Instant::now() }
    }

    /// Writes the line, and reports a permanent failure to Sentry.
    pub(crate) fn finish(&self, result: &Result<Outcome, Failure>) {
        let Delivery { key, event, trace_id, credential, .. } = self.delivery;
        let duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match result {
            Ok(outcome) => {
                let org = org_of(outcome).or(credential.org()).map(|org| org.to_string());
                tracing::info!(
                    org.id = org, call.id = event.call().id.as_str(), event.key = key.as_str(),
                    event.type = event.event_type(), event.outcome = <&str>::from(Metric::from(outcome)),
                    event.sequence = sequence_of(outcome), trace.id = trace_id, duration_ms, "event handled"
                );
            }
            Err(failure) => {
                if failure.code.class() == FailureClass::Permanent {
                    report(self.delivery, failure);
                }
                tracing::error!(
                    org.id = credential.org().map(|org| org.to_string()), call.id = event.call().id.as_str(),
                    event.key = key.as_str(), event.type = event.event_type(), failure.code = %failure.code,
                    failure.class = failure.code.class().as_str(), db.sqlstate = failure.sqlstate,
                    db.constraint = failure.constraint, trace.id = trace_id, duration_ms, "event failed"
                );
            }
        }
    }
}

/// Reports a failed event to Sentry at the end of the invocation.
pub(crate) fn report(delivery: &Delivery, failure: &Failure) {
    sentry::failed(&FailedTransaction {
        org_id: delivery.credential.org(),
        call_id: delivery.event.call().id.as_str(),
        event_key: delivery.key.as_str(),
        event_type: delivery.event.event_type(),
        failure,
        trace_id: delivery.trace_id.as_deref(),
    });
}

impl From<&Outcome> for Metric {
    /// The metric that counts an outcome.
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Applied { .. } => Self::Applied,
            Outcome::Duplicate { .. } => Self::Duplicate,
            Outcome::Unresolved => Self::Unresolved,
            Outcome::Revoked => Self::Refused,
        }
    }
}

const fn org_of(outcome: &Outcome) -> Option<OrgId> {
    match outcome {
        Outcome::Applied { org_id, .. } | Outcome::Duplicate { org_id } => Some(*org_id),
        Outcome::Unresolved | Outcome::Revoked => None,
    }
}

const fn sequence_of(outcome: &Outcome) -> Option<i64> {
    match outcome {
        Outcome::Applied { sequence, .. } => Some(*sequence),
        _ => None,
    }
}
