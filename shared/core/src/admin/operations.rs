//! Redrives and replays that outlive an invocation: their rows, leases and progress.

use std::time::Duration;

use jiff::Timestamp;
use ringfence_protocol::admin::{Operation, OperationKind, Replayable, Selection};
use ringfence_vapi::{FailureCode, OrgId, exact_numbers};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::Admin;
use super::replay::ReplayCursor;
use super::selection::{Parameters, SELECTED};
use crate::error::Failure;

/// How long an invocation that says nothing keeps an operation. Longer than a page of events or a batch of messages takes.
pub const LEASE: Duration = Duration::from_mins(2);

/// What an operation does. Stored as `parameters`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, remote = "Self")]
pub enum Work {
    Redrive {
        selection: Selection,
        per_second: u32,
        /// The same for all passes: an event whose cause is not fixed becomes a dead letter again at once, and would otherwise be
        /// redriven without end.
        before: Timestamp,
    },
    Replay {
        replayable: Replayable,
        selection: Selection,
        per_second: u32,
    },
}

exact_numbers!(Work);

impl Work {
    const fn kind(&self) -> OperationKind {
        match self {
            Self::Redrive { .. } => OperationKind::Redrive,
            Self::Replay { .. } => OperationKind::Replay,
        }
    }

    #[must_use]
    pub const fn selection(&self) -> &Selection {
        match self {
            Self::Redrive { selection, .. } | Self::Replay { selection, .. } => selection,
        }
    }
}

/// The right to work on an operation, until [`LEASE`] after its last progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub id: Uuid,
    holder: Uuid,
}

/// An operation that was leased to be continued.
#[derive(Clone, Debug)]
pub struct Leased {
    pub lease: Lease,
    /// Whoever started the operation.
    pub actor: String,
    pub cursor: Option<ReplayCursor>,
    parameters: Value,
}

impl Leased {
    /// What is to be done. An error: another release stored it in a way that this one cannot read.
    pub fn work(&self) -> Result<Work, Failure> {
        <Work as Deserialize>::deserialize(&self.parameters).map_err(|_| FailureCode::StatementRefused.into())
    }
}

/// Progress since the last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress<'a> {
    pub done: u64,
    pub failed: u64,
    /// Events that no longer remain, also those that are neither done nor failed.
    pub seen: u64,
    pub cursor: Option<&'a ReplayCursor>,
}

impl Admin {
    /// Starts an operation. None: it was started before.
    pub async fn start_operation(&self, id: Uuid, work: &Work, remaining: u64) -> Result<Option<Lease>, Failure> {
        let lease = Lease { id, holder: Uuid::new_v4() };
        let org_id = work.selection().org_id.as_ref().map(OrgId::as_uuid);
        let statement = "SELECT start_operation_v1($1, $2, $3, $4, $5, $6, $7, make_interval(secs => $8))";
        let parameters: [&(dyn ToSql + Sync); 8] = [
            &self.actor,
            &id,
            &<&str>::from(work.kind()),
            &org_id,
            &Json(work),
            &signed(remaining),
            &lease.holder,
            &LEASE.as_secs_f64(),
        ];
        let is_new: bool = self.value(statement, &parameters).await?;
        Ok(is_new.then_some(lease))
    }

    /// Leases the operation that has waited longest, except those of `tried`.
    pub async fn lease_operation(&self, tried: &[Uuid]) -> Result<Option<Leased>, Failure> {
        let holder = Uuid::new_v4();
        let statement =
            "SELECT id, actor, parameters, cursor FROM lease_operation_v1($1, make_interval(secs => $2), $3)";
        let row = self.client.query_opt(statement, &[&holder, &LEASE.as_secs_f64(), &tried]).await?;
        let leased = |row: &Row| {
            let cursor: Option<Json<ReplayCursor>> = row.try_get("cursor")?;
            Ok::<_, tokio_postgres::Error>(Leased {
                lease: Lease { id: row.try_get("id")?, holder },
                actor: row.try_get("actor")?,
                cursor: cursor.map(|Json(cursor)| cursor),
                parameters: row.try_get("parameters")?,
            })
        };
        Ok(row.as_ref().map(leased).transpose()?)
    }

    /// Adds progress and renews the lease. False: the lease was lost, and the work must stop.
    pub async fn advance_operation(&self, lease: Lease, progress: Progress<'_>) -> Result<bool, Failure> {
        let statement = "SELECT advance_operation_v1($1, $2, make_interval(secs => $3), $4, $5, $6, $7)";
        let Progress { done, failed, seen, cursor } = progress;
        let parameters: [&(dyn ToSql + Sync); 7] = [
            &lease.id,
            &lease.holder,
            &LEASE.as_secs_f64(),
            &signed(done),
            &signed(failed),
            &signed(seen),
            &cursor.map(Json),
        ];
        self.value(statement, &parameters).await
    }

    /// Ends a lease early. `was_idle` false: the work could not begin, since another operation has to end first.
    pub async fn release_operation(&self, lease: Lease, was_idle: bool) -> Result<(), Failure> {
        let parameters: [&(dyn ToSql + Sync); 3] = [&lease.id, &lease.holder, &was_idle];
        self.client.execute("SELECT release_operation_v1($1, $2, $3)", &parameters).await?;
        Ok(())
    }

    /// Ends an operation, with what failed beyond the reported progress and what remains.
    pub async fn finish_operation(&self, lease: Lease, failed: u64, remaining: u64) -> Result<(), Failure> {
        let parameters: [&(dyn ToSql + Sync); 4] = [&lease.id, &lease.holder, &signed(failed), &signed(remaining)];
        self.client.execute("SELECT finish_operation_v1($1, $2, $3, $4)", &parameters).await?;
        Ok(())
    }

    /// Operations, newest first.
    pub async fn operations(
        &self,
        id: Option<Uuid>,
        org_id: Option<OrgId>,
        limit: i64,
    ) -> Result<Vec<Operation>, Failure> {
        let statement = "SELECT coalesce(jsonb_agg(to_jsonb(o) ORDER BY o.created_at DESC, o.id), '[]') FROM (
            SELECT id, kind, org_id, actor, state, done, failed, remaining, created_at, updated_at, finished_at
            FROM admin_operations WHERE ($1::uuid IS NULL OR id = $1) AND ($2::uuid IS NULL OR org_id = $2)
            ORDER BY created_at DESC, id LIMIT $3) o";
        let listed: Value = self.value(statement, &[&id, &org_id.as_ref().map(OrgId::as_uuid), &limit]).await?;
        serde_json::from_value(listed).map_err(|_| FailureCode::StatementRefused.into())
    }

    /// The failed operations in dead-letter queues that a redrive still has to take. One that failed while the database was
    /// unavailable has no row and is not among them.
    pub async fn count_redrivable(&self, selection: &Selection, before: Timestamp) -> Result<u64, Failure> {
        // A tool call is in no queue, and the dead letter of an event that was removed after its retention is gone or will
        // be soon.
        let statement = format!(
            "SELECT count(*) FROM failed_operations WHERE {SELECTED} AND ($6::text IS NULL OR code = $6)
                AND state = 'dead' AND function <> 'tool-calls' AND event IS NOT NULL AND last_failed_at <= $8"
        );
        let count: i64 = self.value(&statement, &Parameters::of(selection).and(&[&before])).await?;
        Ok(count.unsigned_abs())
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
