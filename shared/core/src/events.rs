//! The stored events: one SQL statement each, which claims the event, applies its effects and returns the org's viewers.

use jiff::Timestamp;
use ringfence_vapi::{Event, EventKey, OrgId};
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use crate::database::Database;
use crate::error::Failure;

/// What the sender proved to be. Made by the verifier, and carried along if the event has to wait in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Credential {
    /// An org, by its own key.
    Org {
        /// The org that the key belongs to.
        org_id: OrgId,
        /// Which of its keys.
        key_version: i32,
    },
    /// The platform, by its key: the org is found from what the event names.
    Platform,
}

/// A stored event on its way to its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Who sent it.
    pub credential: Credential,
    /// The idempotency key.
    pub key: EventKey,
    /// The facts.
    pub event: Event,
    /// When the door received it.
    pub received_at: Timestamp,
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Claimed and applied, in one transaction.
    Applied {
        /// The org it belongs to.
        org_id: OrgId,
        /// Its place in the org's log.
        sequence: i64,
        /// The WebSocket connections that watch the org.
        viewers: Vec<String>,
    },
    /// Applied before; nothing was changed.
    Duplicate {
        /// The org it belongs to.
        org_id: OrgId,
    },
    /// A platform event whose org is not known yet: kept, and applied when an agent is registered that it names.
    Unresolved,
    /// The key had been revoked when the event was received; nothing was changed.
    Revoked,
}

/// `status-update` of any status but `ended`.
pub async fn apply_call_started(database: &Database, delivery: &Delivery) -> Result<Outcome, Failure> {
    apply(database, "SELECT * FROM apply_call_started_v1($1, $2, $3, $4, $5)", delivery).await
}

/// `status-update` `ended`.
pub async fn apply_call_ended(database: &Database, delivery: &Delivery) -> Result<Outcome, Failure> {
    apply(database, "SELECT * FROM apply_call_ended_v1($1, $2, $3, $4, $5)", delivery).await
}

/// A final `transcript`.
pub async fn apply_transcript(database: &Database, delivery: &Delivery) -> Result<Outcome, Failure> {
    apply(database, "SELECT * FROM apply_transcript_v1($1, $2, $3, $4, $5)", delivery).await
}

/// `end-of-call-report`.
pub async fn apply_end_of_call_report(database: &Database, delivery: &Delivery) -> Result<Outcome, Failure> {
    apply(database, "SELECT * FROM apply_end_of_call_report_v1($1, $2, $3, $4, $5)", delivery).await
}

/// An event that only belongs to the call's timeline.
pub async fn apply_call_event(database: &Database, delivery: &Delivery) -> Result<Outcome, Failure> {
    apply(database, "SELECT * FROM apply_call_event_v1($1, $2, $3, $4, $5)", delivery).await
}

/// All event functions have one shape (`migrations/*__events.sql`).
async fn apply(database: &Database, statement: &str, delivery: &Delivery) -> Result<Outcome, Failure> {
    let (org_id, key_version) = match delivery.credential {
        Credential::Org { org_id, key_version } => (Some(*org_id.as_uuid()), Some(key_version)),
        Credential::Platform => (None, None),
    };
    let row = database
        .query_one(
            statement,
            &[
                (&org_id, Type::UUID),
                (&key_version, Type::INT4),
                (&delivery.key.as_str(), Type::TEXT),
                (&Json(&delivery.event), Type::JSONB),
                (&delivery.received_at, Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    Ok(outcome(&row)?)
}

fn outcome(row: &Row) -> Result<Outcome, tokio_postgres::Error> {
    let org_id = || row.try_get::<_, Uuid>("event_org").map(OrgId);
    Ok(match row.try_get("outcome")? {
        "applied" => {
            Outcome::Applied { org_id: org_id()?, sequence: row.try_get("sequence")?, viewers: row.try_get("viewers")? }
        }
        "duplicate" => Outcome::Duplicate { org_id: org_id()? },
        "unresolved" => Outcome::Unresolved,
        // Fail closed: whatever else the database may answer, the event was not applied for this key.
        _ => Outcome::Revoked,
    })
}
