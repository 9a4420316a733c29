//! Which events an act is about.

use jiff::Timestamp;
use ringfence_vapi::{FailureCode, OrgId};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::ToSql;

use super::Letter;

/// Whether a row of events is selected: the parameters are those of [`Selection::bind`].
pub(super) const SELECTED: &str = "($1::uuid IS NULL OR org_id = $1) AND ($2::text IS NULL OR vapi_call_id = $2)
    AND ($3::text IS NULL OR event_type = $3) AND ($4::timestamptz IS NULL OR received_at >= $4)
    AND ($5::timestamptz IS NULL OR received_at < $5) AND ($7::text IS NULL OR event_id = $7)";

/// Events, by what is known of them. What is left out selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Of one org.
    pub org_id: Option<OrgId>,
    /// Of one call, by Vapi's id.
    pub call_id: Option<String>,
    /// Of one type, as Vapi names it: `end-of-call-report`; or `recording`.
    pub event_type: Option<String>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
    /// Received before this time.
    pub until: Option<Timestamp>,
    /// Failed events only: by the code of their latest failure.
    pub code: Option<FailureCode>,
    /// One event, by its key.
    #[serde(default)]
    pub event_id: Option<String>,
}

impl Selection {
    /// Whether it selects a dead letter of `org_id` that failed with `code`.
    #[must_use]
    pub fn selects(&self, letter: &Letter, org_id: OrgId, code: Option<FailureCode>) -> bool {
        let Self { org_id: org, call_id, event_type, since, until, code: failed_with, event_id } = self;
        org.is_none_or(|org| org == org_id)
            && call_id.as_ref().is_none_or(|id| id == letter.call_id())
            && event_type.as_ref().is_none_or(|name| name == letter.event_type())
            && since.is_none_or(|since| letter.received_at() >= since)
            && until.is_none_or(|until| letter.received_at() < until)
            && (failed_with.is_none() || *failed_with == code)
            && event_id.as_ref().is_none_or(|id| *id == letter.event_id())
    }

    /// Hands it over as parameters `$1` to `$7`, of which the sixth is the code.
    pub(super) async fn bind<T>(&self, run: impl AsyncFnOnce(&[&(dyn ToSql + Sync)]) -> T) -> T {
        let Self { org_id, call_id, event_type, since, until, code, event_id } = self;
        let (org_id, code) = (org_id.map(|org| org.0), code.map(|code| code.to_string()));
        run(&[&org_id, call_id, event_type, since, until, &code, event_id]).await
    }
}
