//! What is written of an event that failed: a row in `failed_operations`, and one in `failed_attempts` for each attempt.

use ringfence_protocol::{Delivery, FailedAttempt};
use ringfence_vapi::{Function, OrgId};
use serde::Serialize;
use strum::IntoStaticStr;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use crate::database::Database;
use crate::error::Failure;
use crate::events::credential_columns;
use crate::live::{self, Announcement};

/// Where a failed event is now.
#[derive(Clone, Copy, Debug, IntoStaticStr, PartialEq, Eq)]
#[strum(serialize_all = "kebab-case")]
pub enum FailedState {
    /// In its retry queue, to be tried again.
    Retrying,
    /// In its dead-letter queue.
    Dead,
}

/// What was written down of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Whose failure it is.
    pub org_id: OrgId,
    /// It is news: it has a place in the org's log.
    pub news: Option<Announcement>,
}

/// Writes down the failures that `delivery` carries. None: it came by the platform's key and names no org that is known, so
/// there is nobody whose failure it is.
pub async fn record(database: &Database, delivery: &Delivery, state: FailedState) -> Result<Option<Recorded>, Failure> {
    let (org_id, key_version) = credential_columns(delivery.credential);
    let row = database
        .query_one(
            "SELECT * FROM record_failure_v1($1, $2, $3, $4, $5, $6, $7)",
            &[
                (&org_id, Type::UUID),
                (&key_version, Type::INT4),
                (&delivery.key.as_str(), Type::TEXT),
                (&Json(&delivery.event), Type::JSONB),
                (&delivery.received_at, Type::TIMESTAMPTZ),
                (&of(delivery), Type::JSONB),
                (&<&str>::from(state), Type::TEXT),
            ],
        )
        .await?;
    Ok(recorded(&row)?)
}

pub(crate) fn recorded(row: &Row) -> Result<Option<Recorded>, tokio_postgres::Error> {
    let Some(org_id) = row.try_get::<_, Option<Uuid>>("event_org")?.map(OrgId::from) else { return Ok(None) };
    Ok(Some(Recorded { org_id, news: live::announcement(row)? }))
}

/// `p_failures` of the SQL functions.
#[derive(Debug, Serialize)]
pub(crate) struct Column<'a> {
    function: Function,
    receives: u32,
    attempts: &'a [FailedAttempt],
}

/// What a delivery's failures are to the SQL functions; none: nothing failed before.
pub(crate) fn of(delivery: &Delivery) -> Option<Json<Column<'_>>> {
    let Delivery { event, receives, failures, .. } = delivery;
    let column = Column { function: event.function(), receives: receives.unwrap_or(0), attempts: failures };
    (!failures.is_empty()).then_some(Json(column))
}
