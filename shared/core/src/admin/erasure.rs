//! Erasure (`migrations/*__erasure.sql`): deletes a call everywhere and leaves a tombstone, which ends later
//! deliveries.

use jiff::Timestamp;
use ringfence_protocol::admin::Erasable;
use ringfence_vapi::OrgId;
use tokio_postgres::types::Json;

use super::{Admin, DeadLetter};
use crate::error::Failure;

impl Admin {
    /// Erases a call. Without `run` it only counts the call's data.
    pub async fn erase_call(&self, org_id: OrgId, call_id: &str, run: bool) -> Result<Erasable, Failure> {
        let statement = "SELECT erase_call_v1($1, $2, $3, $4)";
        let Json(erasable) = self.value(statement, &[&self.actor, org_id.as_uuid(), &call_id, &run]).await?;
        Ok(erasable)
    }

    /// Writes the tombstones of a number, one per hash, for all calls that began before `cut_off`.
    pub async fn add_number_tombstones(
        &self,
        org_id: OrgId,
        tombstones: &[String],
        cut_off: Timestamp,
    ) -> Result<(), Failure> {
        let statement = "SELECT add_number_tombstones_v1($1, $2, $3, $4)";
        self.client.execute(statement, &[&self.actor, org_id.as_uuid(), &tombstones, &cut_off]).await?;
        Ok(())
    }

    /// The calls with a number that began before `cut_off`. `tombstones` are the hashes of the number.
    pub async fn calls_of_number(
        &self,
        org_id: OrgId,
        number: &str,
        tombstones: &[String],
        cut_off: Timestamp,
    ) -> Result<Vec<String>, Failure> {
        let statement = "SELECT find_calls_of_number_v1($1, $2, $3, $4)";
        self.value(statement, &[org_id.as_uuid(), &number, &tombstones, &cut_off]).await
    }

    /// Deletes the quarantined messages with a number that were received before `cut_off`, and returns their count.
    /// Without `run` it only counts them.
    pub async fn erase_quarantined_of_number(
        &self,
        org_id: OrgId,
        tombstones: &[String],
        cut_off: Timestamp,
        run: bool,
    ) -> Result<u64, Failure> {
        let statement = "SELECT erase_quarantined_of_number_v1($1, $2, $3, $4)";
        let count: i64 = self.value(statement, &[org_id.as_uuid(), &tombstones, &cut_off, &run]).await?;
        Ok(count.unsigned_abs())
    }

    /// Erases the lead with a number. Without `run` it only counts it.
    pub async fn erase_lead(&self, org_id: OrgId, number: &str, run: bool) -> Result<u64, Failure> {
        let leads: i64 = self.value("SELECT erase_lead_v1($1, $2, $3)", &[org_id.as_uuid(), &number, &run]).await?;
        Ok(leads.unsigned_abs())
    }

    /// Whether a tombstone covers the dead letter.
    pub async fn is_erased(&self, org_id: OrgId, dead_letter: &DeadLetter) -> Result<bool, Failure> {
        match dead_letter {
            DeadLetter::Event(delivery) => {
                let statement = "SELECT is_erased($1, $2, $3)";
                self.value(statement, &[org_id.as_uuid(), &Json(&delivery.event), &delivery.received_at]).await
            }
            DeadLetter::Recording { .. } => {
                self.value("SELECT is_call_erased($1, $2)", &[org_id.as_uuid(), &dead_letter.call_id()]).await
            }
        }
    }
}
