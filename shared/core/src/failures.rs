//! Records the failures of events: a row in `failed_operations`, and one in `failed_attempts` for each attempt.

use ringfence_protocol::{Delivery, FailedAttempt};
use ringfence_vapi::{Function, OrgId};
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use crate::database::Database;
use crate::error::Failure;
use crate::events::credential_columns;
use crate::live::{self, Announcement};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedState {
    /// In its retry queue, to be retried.
    Retrying,
    /// In its dead-letter queue.
    Dead,
}

impl FailedState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Retrying => "retrying",
            Self::Dead => "dead",
        }
    }
}

/// A recorded failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub org_id: OrgId,
    /// The entry in the org's log, if the failure was added to it.
    pub log_entry: Option<Announcement>,
}

/// Records the failures that `delivery` contains. None: the delivery came to the platform URL and its org is unknown,
/// so no org has the failure.
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
                (&state.as_str(), Type::TEXT),
            ],
        )
        .await?;
    Ok(recorded(&row)?)
}

pub(crate) fn recorded(row: &Row) -> Result<Option<Recorded>, tokio_postgres::Error> {
    let Some(org_id) = row.try_get::<_, Option<Uuid>>("event_org")?.map(OrgId) else { return Ok(None) };
    Ok(Some(Recorded { org_id, log_entry: live::announcement(row)? }))
}

/// `p_failures` of the SQL functions.
#[derive(Debug, Serialize)]
pub(crate) struct Column<'a> {
    function: Function,
    receives: u32,
    attempts: &'a [FailedAttempt],
}

/// The failures of a delivery as a parameter of the SQL functions. None: no attempt has failed.
pub(crate) fn of(delivery: &Delivery) -> Option<Json<Column<'_>>> {
    let Delivery { event, receives, failures, .. } = delivery;
    let column = Column { function: event.function(), receives: receives.unwrap_or(0), attempts: failures };
    (!failures.is_empty()).then_some(Json(column))
}
