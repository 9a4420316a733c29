//! Selections: the events that a command processes.

use ringfence_protocol::admin::Selection;
use ringfence_vapi::{FailureCode, OrgId};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Admin, DeadLetter};
use crate::error::Failure;

/// The predicate of a selection. Its parameters are those of [`Parameters`].
pub(super) const SELECTED: &str = "($1::uuid IS NULL OR org_id = $1) AND ($2::text IS NULL OR vapi_call_id = $2)
    AND ($3::text IS NULL OR event_type = $3) AND ($4::timestamptz IS NULL OR received_at >= $4)
    AND ($5::timestamptz IS NULL OR received_at < $5) AND ($7::text IS NULL OR event_id = $7)";

impl Admin {
    /// Whether a selection contains a dead letter of `org_id` that failed with `code`. Uses the same predicate as for
    /// rows.
    pub async fn selects(
        &self,
        selection: &Selection,
        dead_letter: &DeadLetter,
        org_id: OrgId,
        code: Option<FailureCode>,
    ) -> Result<bool, Failure> {
        let statement = format!(
            "SELECT coalesce({SELECTED} AND ($6::text IS NULL OR code = $6), false)
            FROM (SELECT $8::uuid AS org_id, $9::text AS vapi_call_id, $10::text AS event_type,
                $11::timestamptz AS received_at, $12::text AS event_id, $13::text AS code) dead_letter"
        );
        let code = code.map(|code| code.to_string());
        let parameters = Parameters::of(selection);
        let facts: [&(dyn ToSql + Sync); 6] = [
            org_id.as_uuid(),
            &dead_letter.call_id(),
            &dead_letter.event_type(),
            &dead_letter.received_at(),
            &dead_letter.event_id(),
            &code,
        ];
        self.value(&statement, &parameters.and(&facts)).await
    }
}

/// A selection as the parameters `$1` to `$7`. `$6` is the code.
pub(super) struct Parameters<'a> {
    selection: &'a Selection,
    org_id: Option<Uuid>,
    code: Option<String>,
}

impl<'a> Parameters<'a> {
    pub(super) fn of(selection: &'a Selection) -> Self {
        let (org_id, code) = (selection.org_id.map(|org| org.0), selection.code.map(|code| code.to_string()));
        Self { selection, org_id, code }
    }

    /// These parameters followed by `rest`.
    pub(super) fn and<'b>(&'b self, rest: &[&'b (dyn ToSql + Sync)]) -> Vec<&'b (dyn ToSql + Sync)> {
        let Selection { call_id, event_type, since, until, event_id, .. } = self.selection;
        let own: [&(dyn ToSql + Sync); 7] = [&self.org_id, call_id, event_type, since, until, &self.code, event_id];
        own.into_iter().chain(rest.iter().copied()).collect()
    }
}
