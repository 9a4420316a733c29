//! Reads failed operations and records their redrive.

use ringfence_protocol::admin::{FailedOperation, Selection};
use ringfence_vapi::{Event, OrgId};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::selection::{Parameters, SELECTED};
use super::{Admin, DeadLetter};
use crate::error::Failure;
use crate::events::credential_columns;
use crate::failures;

impl Admin {
    /// The failed operations of a selection, the latest first, at most `limit`. With `resolved` also the resolved ones.
    pub async fn failed_operations(
        &self,
        selection: &Selection,
        resolved: bool,
        limit: i64,
    ) -> Result<Vec<FailedOperation>, Failure> {
        let statement = format!(
            "SELECT org_id, vapi_call_id, event_id, function, state, code, receives, first_failed_at, last_failed_at,
                event IS NULL AND state <> 'resolved' AS is_event_removed,
                (SELECT count(*) FROM failed_attempts a WHERE a.org_id = f.org_id AND a.event_id = f.event_id)
                AS attempts
            FROM failed_operations f
            WHERE {SELECTED} AND ($6::text IS NULL OR code = $6) AND ($8 OR state <> 'resolved')
            ORDER BY last_failed_at DESC, org_id, event_id LIMIT $9"
        );
        let parameters = Parameters::of(selection);
        let rows = self.client.query(&statement, &parameters.and(&[&resolved, &limit])).await?;
        Ok(rows.iter().map(failed_operation).collect::<Result<_, _>>()?)
    }

    /// Records that a dead letter is moved back to its retry queue, and its failure if no row has it yet.
    pub async fn mark_redriven(&self, org_id: OrgId, dead_letter: &DeadLetter) -> Result<(), Failure> {
        let statement = "SELECT mark_redriven_v1($1, $2, $3, $4, $5, $6, $7)";
        let event_id = dead_letter.event_id();
        // The row of a recording already has its failure.
        let delivery = match dead_letter {
            DeadLetter::Event(delivery) => Some(delivery),
            DeadLetter::Recording { .. } => None,
        };
        let parameters: [&(dyn ToSql + Sync); 7] = [
            &self.actor,
            org_id.as_uuid(),
            &delivery.and_then(|delivery| credential_columns(delivery.credential).1),
            &event_id,
            &delivery.map(|delivery| Json(&delivery.event)),
            &delivery.map(|delivery| delivery.received_at),
            &delivery.and_then(|delivery| failures::of(delivery)),
        ];
        self.client.execute(statement, &parameters).await?;
        Ok(())
    }

    /// Reverts [`Self::mark_redriven`] if the retry queue did not accept the message.
    pub async fn unmark_redriven(&self, org_id: OrgId, dead_letter: &DeadLetter) -> Result<(), Failure> {
        let parameters: [&(dyn ToSql + Sync); 3] = [&self.actor, org_id.as_uuid(), &dead_letter.event_id()];
        self.client.execute("SELECT unmark_redriven_v1($1, $2, $3)", &parameters).await?;
        Ok(())
    }

    /// Waits until no other redrive is in progress, and blocks others while this connection is open. A redrive hides
    /// all dead letters from other consumers, so a concurrent one would find none.
    pub async fn take_turn_to_redrive(&self) -> Result<(), Failure> {
        self.client.execute("SELECT pg_advisory_lock(hashtext('ringfence redrive'))", &[]).await?;
        Ok(())
    }

    /// As [`Self::take_turn_to_redrive`], without the wait. False: another pass is at work.
    pub async fn try_turn_to_redrive(&self) -> Result<bool, Failure> {
        self.value("SELECT pg_try_advisory_lock(hashtext('ringfence redrive'))", &[]).await
    }

    /// Lets the next redrive begin before this connection is closed, of which the server learns a moment later.
    pub async fn end_turn_to_redrive(&self) -> Result<(), Failure> {
        self.client.execute("SELECT pg_advisory_unlock(hashtext('ringfence redrive'))", &[]).await?;
        Ok(())
    }

    /// The event of a failed operation with its personal data, which is audited. None: the org has none such, or it was
    /// applied or removed after its retention.
    pub async fn unmask(&self, org_id: OrgId, event_id: &str) -> Result<Option<Value>, Failure> {
        self.value("SELECT unmask_failure_v1($1, $2, $3)", &[&self.actor, org_id.as_uuid(), &event_id]).await
    }

    /// Writes the result of a redrive to the audit log.
    pub async fn record_redrive_pass(&self, org_id: Option<OrgId>, outcome: &Value) -> Result<(), Failure> {
        let parameters: [&(dyn ToSql + Sync); 3] = [&self.actor, &org_id.map(|org| *org.as_uuid()), &Json(outcome)];
        self.client.execute("SELECT audit($1, 'event.redrive_pass', $2, 'dead letters', $3)", &parameters).await?;
        Ok(())
    }

    /// The org of an event from the platform URL. None: no org, or more than one, has registered the event's ids.
    pub async fn find_org(&self, event: &Event) -> Result<Option<OrgId>, Failure> {
        let org: Option<Uuid> = self.value("SELECT find_event_org_v1($1)", &[&Json(event)]).await?;
        Ok(org.map(OrgId::from))
    }
}

fn failed_operation(row: &Row) -> Result<FailedOperation, tokio_postgres::Error> {
    Ok(FailedOperation {
        org_id: OrgId::from(row.try_get::<_, Uuid>("org_id")?),
        call_id: row.try_get("vapi_call_id")?,
        event_id: row.try_get("event_id")?,
        function: row.try_get("function")?,
        state: row.try_get("state")?,
        code: row.try_get("code")?,
        attempts: row.try_get("attempts")?,
        receives: row.try_get("receives")?,
        first_failed_at: row.try_get("first_failed_at")?,
        last_failed_at: row.try_get("last_failed_at")?,
        is_event_removed: row.try_get("is_event_removed")?,
    })
}
