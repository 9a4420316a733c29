//! The stored events: one SQL statement each, which claims the event, applies its effects and returns the org's viewers.

use jiff::Timestamp;
use ringfence_vapi::{Event, EventKey, OrgId, RecordingKind, StoredEvent};
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use crate::database::{Database, Parameter};
use crate::error::Failure;
use crate::failures::{self, FailedAttempt};

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
    /// What fetches the recordings that the event names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<SealedLink>,
    /// The attempts that failed before, as far as nobody could write them down yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailedAttempt>,
    /// What its log lines have in common, from the door to the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// How often the queue has delivered it, this time included; 0 at the door.
    #[serde(skip)]
    pub receives: u32,
}

impl Delivery {
    /// An event that has just been received, without the links that came with it.
    #[must_use]
    pub fn new(credential: Credential, stored: StoredEvent, received_at: Timestamp) -> Self {
        let StoredEvent { key, event, links: _ } = stored;
        Self {
            credential,
            key,
            event,
            received_at,
            links: Vec::new(),
            failures: Vec::new(),
            trace_id: None,
            receives: 0,
        }
    }
}

/// A link to a recording, which only a master key can open: it may wait in a queue and in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedLink {
    /// What it leads to.
    pub kind: RecordingKind,
    /// The link, sealed.
    pub link: String,
    /// From then on it leads nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
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
    apply(database, "SELECT * FROM apply_call_started_v1($1, $2, $3, $4, $5, $6)", delivery).await
}

/// `status-update` `ended`.
pub async fn apply_call_ended(database: &Database, delivery: &Delivery) -> Result<Outcome, Failure> {
    apply(database, "SELECT * FROM apply_call_ended_v1($1, $2, $3, $4, $5, $6)", delivery).await
}

/// A final `transcript`.
pub async fn apply_transcript(database: &Database, delivery: &Delivery) -> Result<Outcome, Failure> {
    apply(database, "SELECT * FROM apply_transcript_v1($1, $2, $3, $4, $5, $6)", delivery).await
}

/// `end-of-call-report`.
pub async fn apply_end_of_call_report(database: &Database, delivery: &Delivery) -> Result<Outcome, Failure> {
    let statement = "SELECT * FROM apply_end_of_call_report_v1($1, $2, $3, $4, $5, $6, $7)";
    let links = (!delivery.links.is_empty()).then_some(Json(&delivery.links));
    apply_with(database, statement, delivery, &[(&links, Type::JSONB)]).await
}

/// An event that only belongs to the call's timeline.
pub async fn apply_call_event(database: &Database, delivery: &Delivery) -> Result<Outcome, Failure> {
    apply(database, "SELECT * FROM apply_call_event_v1($1, $2, $3, $4, $5, $6)", delivery).await
}

async fn apply(database: &Database, statement: &str, delivery: &Delivery) -> Result<Outcome, Failure> {
    apply_with(database, statement, delivery, &[]).await
}

/// All event functions have one shape (`migrations/*__events.sql`); `more` is what one of them takes beyond it.
async fn apply_with(
    database: &Database,
    statement: &str,
    delivery: &Delivery,
    more: &[Parameter<'_>],
) -> Result<Outcome, Failure> {
    let (org_id, key_version) = credential_columns(delivery.credential);
    let (key, event, failures) = (delivery.key.as_str(), Json(&delivery.event), failures::of(delivery));
    let common: [Parameter<'_>; 6] = [
        (&org_id, Type::UUID),
        (&key_version, Type::INT4),
        (&key, Type::TEXT),
        (&event, Type::JSONB),
        (&delivery.received_at, Type::TIMESTAMPTZ),
        (&failures, Type::JSONB),
    ];
    let row = database.query_one(statement, &[&common, more].concat()).await?;
    Ok(outcome(&row)?)
}

/// A credential as `p_org_id` and `p_key_version`; the platform's is NULL and NULL.
pub(crate) fn credential_columns(credential: Credential) -> (Option<Uuid>, Option<i32>) {
    match credential {
        Credential::Org { org_id, key_version } => (Some(org_id.0), Some(key_version)),
        Credential::Platform => (None, None),
    }
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
