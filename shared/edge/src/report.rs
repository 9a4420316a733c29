//! What is said of an event after its handler: one log line, one metric.

use std::time::Instant;

use ringfence_core::error::Failure;
use ringfence_core::{Delivery, Outcome};
use ringfence_vapi::{FailureClass, OrgId};

use crate::auth::org_of;
use crate::metrics::Metric;
use crate::sentry::{self, FailedTransaction};

/// What may be logged of a delivery, and when its handling began.
pub struct Facts {
    org_id: Option<OrgId>,
    call_id: String,
    event_key: String,
    event_type: &'static str,
    trace_id: Option<String>,
    began: Instant,
}

impl Facts {
    /// The facts of a delivery that is about to be handled.
    #[must_use]
    pub fn of(delivery: &Delivery) -> Self {
        Self {
            org_id: org_of(delivery.credential),
            call_id: delivery.event.call().id.as_str().to_owned(),
            event_key: delivery.key.as_str().to_owned(),
            event_type: delivery.event.event_type(),
            trace_id: delivery.trace_id.clone(),
            began: Instant::now(),
        }
    }

    /// One line: what became of it, for which org and call, and why not. What cannot ever apply, Sentry is told, too.
    pub fn log(&self, result: &Result<Outcome, Failure>) {
        let Self { call_id, event_key, event_type, trace_id, .. } = self;
        let duration_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match result {
            Ok(outcome) => {
                let org = org_of_outcome(outcome).or(self.org_id).map(|org| org.to_string());
                tracing::info!(
                    org.id = org, call.id = call_id, event.key = event_key, event.type = event_type,
                    event.outcome = metric(outcome).name(), event.sequence = sequence_of(outcome),
                    trace.id = trace_id, duration_ms, "event handled"
                );
            }
            Err(failure) => {
                if failure.code.class() == FailureClass::Permanent {
                    self.tell_sentry(failure);
                }
                tracing::error!(
                    org.id = self.org_id.map(|org| org.to_string()), call.id = call_id, event.key = event_key,
                    event.type = event_type, failure.code = %failure.code, failure.class = failure.code.class().as_str(),
                    db.sqlstate = failure.sqlstate, db.constraint = failure.constraint, trace.id = trace_id,
                    duration_ms, "event failed"
                );
            }
        }
    }

    /// Has Sentry told of it at the end of the invocation.
    pub fn tell_sentry(&self, failure: &Failure) {
        sentry::failed(&FailedTransaction {
            org_id: self.org_id,
            call_id: &self.call_id,
            event_key: &self.event_key,
            event_type: self.event_type,
            failure,
            trace_id: self.trace_id.as_deref(),
        });
    }
}

/// The metric that counts an outcome.
#[must_use]
pub const fn metric(outcome: &Outcome) -> Metric {
    match outcome {
        Outcome::Applied { .. } => Metric::Applied,
        Outcome::Duplicate { .. } => Metric::Duplicate,
        Outcome::Unresolved => Metric::Unresolved,
        Outcome::Revoked => Metric::Refused,
    }
}

const fn org_of_outcome(outcome: &Outcome) -> Option<OrgId> {
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
