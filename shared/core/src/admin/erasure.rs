//! Erasure (`migrations/*__erasure.sql`): deletes a call everywhere and leaves a tombstone, which ends later
//! deliveries.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ringfence_protocol::admin::Erasable;
use ringfence_vapi::{Event, OrgId, contact_identifiers};
use tokio_postgres::types::Json;

use super::{Admin, DeadLetter};
use crate::error::Failure;

/// Longer than any transaction of the functions: their role has a `statement_timeout` of 5 s, and each transaction is
/// one statement.
const LONGEST_TRANSACTION: Duration = Duration::from_secs(6);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

impl Admin {
    /// Erases a call. Without `run` it only counts the call's data.
    pub async fn erase_call(&self, org_id: OrgId, call_id: &str, run: bool) -> Result<Erasable, Failure> {
        let statement = "SELECT count(*) FROM unresolved_events WHERE vapi_call_id = $2 AND may_concern_org($1, event)";
        let unresolved: i64 = self.value(statement, &[org_id.as_uuid(), &call_id]).await?;
        if run && unresolved > 0 {
            self.route_erased_call(org_id, call_id).await?;
        }
        let statement = "SELECT erase_call_v1($1, $2, $3, $4)";
        let Json::<Erasable>(erasable) =
            self.value(statement, &[&self.actor, org_id.as_uuid(), &call_id, &run]).await?;
        let calls = if unresolved > 0 { 1 } else { erasable.calls };
        Ok(Erasable { calls, unresolved: unresolved.unsigned_abs(), ..erasable })
    }

    /// Routes a call from the platform URL whose org is unknown to the org that erases it.
    pub async fn route_erased_call(&self, org_id: OrgId, call_id: &str) -> Result<(), Failure> {
        self.client.execute("SELECT route_erased_call_v1($1, $2)", &[org_id.as_uuid(), &call_id]).await?;
        Ok(())
    }

    /// Writes the tombstones of a number, one per hash, for all calls that began before `cut_off`. When it returns,
    /// each transaction that did not see them has ended.
    pub async fn add_number_tombstones(
        &self,
        org_id: OrgId,
        tombstones: &[String],
        cut_off: Timestamp,
    ) -> Result<(), Failure> {
        let statement = "SELECT add_number_tombstones_v1($1, $2, $3, $4)";
        self.client.execute(statement, &[&self.actor, org_id.as_uuid(), &tombstones, &cut_off]).await?;
        self.wait_for_running_transactions().await
    }

    /// Waits until all transactions on this database that are in progress have ended, at most [`LONGEST_TRANSACTION`].
    async fn wait_for_running_transactions(&self) -> Result<(), Failure> {
        let running = "SELECT coalesce(array_agg(l.virtualtransaction), '{}')
            FROM pg_locks l JOIN pg_stat_activity a USING (pid)
            WHERE l.locktype = 'virtualxid' AND l.granted AND a.datname = current_database() AND pid <> pg_backend_pid()";
        let transactions: Vec<String> = self.value(running, &[]).await?;
        let remaining = "SELECT EXISTS (SELECT FROM pg_locks
            WHERE locktype = 'virtualxid' AND granted AND virtualtransaction = ANY ($1))";
        let until = Instant::now() + LONGEST_TRANSACTION;
        while self.value(remaining, &[&transactions]).await? && Instant::now() < until {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// The calls that began before `cut_off` and that ever had one of the numbers of `identifiers`
    /// ([`contact_identifiers`]), in any spelling. `tombstones` are the hashes of the number.
    pub async fn calls_of_number(
        &self,
        org_id: OrgId,
        identifiers: &[String],
        tombstones: &[String],
        cut_off: Timestamp,
    ) -> Result<BTreeSet<String>, Failure> {
        let patterns: Vec<String> = identifiers.iter().map(|identifier| pattern(identifier)).collect();
        let statement = "SELECT vapi_call_id, number FROM find_numbers_v1($1, $2, $3, $4)";
        let rows = self.client.query(statement, &[org_id.as_uuid(), &patterns, &tombstones, &cut_off]).await?;
        let mut calls = BTreeSet::new();
        for row in rows {
            let number: Option<String> = row.try_get("number")?;
            let found = number.map(|number| contact_identifiers(&number));
            if found.is_none_or(|found| found.iter().any(|identifier| identifiers.contains(identifier))) {
                calls.insert(row.try_get("vapi_call_id")?);
            }
        }
        Ok(calls)
    }

    /// The chats in which tool calls with a number were executed before `cut_off`. `tombstones` are the hashes of the
    /// number.
    pub async fn chats_of_number(
        &self,
        org_id: OrgId,
        tombstones: &[String],
        cut_off: Timestamp,
    ) -> Result<Vec<String>, Failure> {
        let statement = "SELECT ARRAY(SELECT find_chats_of_number_v1($1, $2, $3))";
        self.value(statement, &[org_id.as_uuid(), &tombstones, &cut_off]).await
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

    /// Erases a chat or session. Without `run` it only counts its tool calls.
    pub async fn erase_chat(&self, org_id: OrgId, chat_id: &str, run: bool) -> Result<Erasable, Failure> {
        let statement = "SELECT erase_chat_v1($1, $2, $3, $4)";
        let tool_calls: i64 = self.value(statement, &[&self.actor, org_id.as_uuid(), &chat_id, &run]).await?;
        Ok(Erasable { tool_calls: tool_calls.unsigned_abs(), ..Erasable::default() })
    }

    /// Erases the lead with one of the numbers. Without `run` it only counts it.
    pub async fn erase_lead(&self, org_id: OrgId, numbers: &[String], run: bool) -> Result<u64, Failure> {
        let leads: i64 = self.value("SELECT erase_lead_v1($1, $2, $3)", &[org_id.as_uuid(), &numbers, &run]).await?;
        Ok(leads.unsigned_abs())
    }

    /// Whether an event from the platform URL belongs to an org or may do so, because its org is unknown.
    pub async fn may_concern_org(&self, org_id: OrgId, event: &Event) -> Result<bool, Failure> {
        self.value("SELECT may_concern_org($1, $2)", &[org_id.as_uuid(), &Json(event)]).await
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

/// A LIKE pattern that finds all spellings of an identifier in the form of the SQL function `compact_number`.
fn pattern(identifier: &str) -> String {
    let compact = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let address = identifier.strip_prefix("sip:").unwrap_or(identifier);
    // Between user and host there may be a password or a parameter.
    let parts: Vec<String> = address.split('@').map(compact).collect();
    format!("%{}%", parts.join("%"))
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn a_pattern_leaves_room_for_what_a_spelling_adds() {
        assert_eq!(pattern("+15555550142"), "%15555550142%");
        assert_eq!(pattern("sip:kim@pbx.example.com"), "%kim%pbxexamplecom%");
    }
}
