//! Erasure (`migrations/*__erasure.sql`): a call leaves every place, and a mark stays that keeps it from coming back.

use jiff::Timestamp;
use ringfence_vapi::OrgId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::types::Json;

use super::{Admin, Letter};
use crate::error::Failure;

/// What is known of calls that are erased, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Calls with rows.
    pub calls: u64,
    /// Kept events.
    pub events: u64,
    /// Things said.
    pub transcripts: u64,
    /// Recordings, also those that are not stored yet. Maintenance removes their objects within the hour.
    pub recordings: u64,
    /// Failed operations.
    pub failures: u64,
    /// Tool calls. That they were executed stays; what was answered goes.
    pub tool_calls: u64,
    /// Platform events that waited for their org.
    pub unresolved: u64,
}

impl Known {
    /// Adds another call's.
    pub fn add(&mut self, other: &Self) {
        let Self { calls, events, transcripts, recordings, failures, tool_calls, unresolved } = other;
        self.calls += calls;
        self.events += events;
        self.transcripts += transcripts;
        self.recordings += recordings;
        self.failures += failures;
        self.tool_calls += tool_calls;
        self.unresolved += unresolved;
    }
}

impl Admin {
    /// Erases a call, or (without `run`) counts what there is of it.
    pub async fn erase_call(&self, org_id: OrgId, call_id: &str, run: bool) -> Result<Known, Failure> {
        let statement = "SELECT erase_call_v1($1, $2, $3, $4)";
        let Json(known) = self.value(statement, &[&self.actor, org_id.as_uuid(), &call_id, &run]).await?;
        Ok(known)
    }

    /// Marks a number, by its hashes, for all calls that began before `cut_off`.
    pub async fn mark_number(&self, org_id: OrgId, marks: &[String], cut_off: Timestamp) -> Result<(), Failure> {
        let statement = "SELECT mark_number_v1($1, $2, $3, $4)";
        self.client.execute(statement, &[&self.actor, org_id.as_uuid(), &marks, &cut_off]).await?;
        Ok(())
    }

    /// The calls with a number that began before `cut_off`.
    pub async fn calls_of_number(
        &self,
        org_id: OrgId,
        number: &str,
        marks: &[String],
        cut_off: Timestamp,
    ) -> Result<Vec<String>, Failure> {
        let statement = "SELECT find_calls_of_number_v1($1, $2, $3, $4)";
        self.value(statement, &[org_id.as_uuid(), &number, &marks, &cut_off]).await
    }

    /// Erases the lead with a number, or (without `run`) counts it.
    pub async fn erase_lead(&self, org_id: OrgId, number: &str, run: bool) -> Result<u64, Failure> {
        let leads: i64 = self.value("SELECT erase_lead_v1($1, $2, $3)", &[org_id.as_uuid(), &number, &run]).await?;
        Ok(leads.unsigned_abs())
    }

    /// Whether a dead letter is of what was erased.
    pub async fn is_erased(&self, org_id: OrgId, letter: &Letter) -> Result<bool, Failure> {
        match letter {
            Letter::Event(delivery) => {
                let event: Value = serde_json::to_value(&delivery.event).unwrap_or_default();
                let statement = "SELECT is_erased($1, $2, $3)";
                self.value(statement, &[org_id.as_uuid(), &Json(event), &delivery.received_at]).await
            }
            Letter::Recording { .. } => {
                self.value("SELECT is_call_erased($1, $2)", &[org_id.as_uuid(), &letter.call_id()]).await
            }
        }
    }
}
