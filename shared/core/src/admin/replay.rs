//! Replay: applies the effects of retained events again, or those of failed events and quarantined messages for the first
//! time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ringfence_protocol::Delivery;
use ringfence_protocol::admin::{Replayable, Selection};
use ringfence_vapi::{FailureCode, OrgId};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::Admin;
use super::selection::{Parameters, SELECTED};
use crate::error::Failure;

/// The last event that a replay has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayCursor {
    pub org_id: OrgId,
    pub event_id: String,
}

/// What a page of a replay did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Events of the page.
    pub seen: u64,
    pub replayed: u64,
    /// The log has the code of each.
    pub failed: u64,
    /// None: the page is empty.
    pub next: Option<ReplayCursor>,
}

/// A message of a type that was unknown when it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedMessage {
    pub org_id: OrgId,
    /// SHA-256 of the body.
    pub id: String,
    pub sealed: String,
    /// None: it came by the platform's key.
    pub key_version: Option<i32>,
    pub received_at: Timestamp,
}

/// What this version makes of a quarantined message.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// A stored event.
    Event(Box<Delivery>),
    /// This version knows the type and does not store it.
    NotStored,
    /// This version does not know the type either.
    Unknown,
    /// It cannot be opened: it was sealed with a master key that was removed.
    Unreadable,
}

/// Opens and parses quarantined messages. Only the function with the master keys can.
pub trait ReadQuarantined {
    fn read(&self, message: &QuarantinedMessage) -> Reading;
}

impl Admin {
    pub async fn count_replayable(&self, kind: Replayable, selection: &Selection) -> Result<i64, Failure> {
        let statement = format!("SELECT count(*) FROM {}", selected(kind));
        self.value(&statement, &Parameters::of(selection).and(&[])).await
    }

    /// Replays at most `limit` events of the selection that follow `after`, each in its own transaction; a failed event
    /// does not affect the others. The audit log has the number of events of each org before the replay begins.
    /// `reader` reads quarantined messages. Without it they are all unreadable.
    pub async fn replay(
        &self,
        kind: Replayable,
        reader: Option<&(dyn ReadQuarantined + Send + Sync)>,
        selection: &Selection,
        after: Option<&ReplayCursor>,
        limit: i64,
    ) -> Result<Replayed, Failure> {
        let page = self.page(kind, selection, after, limit).await?;
        let mut counts: BTreeMap<OrgId, i64> = BTreeMap::new();
        for event in &page {
            *counts.entry(event.org_id).or_default() += 1;
        }
        for (org_id, count) in counts {
            let audit = "SELECT audit($1, 'event.replay', $2, $3, jsonb_build_object('events', $4::bigint))";
            let subject = match kind {
                Replayable::Applied => "applied events",
                Replayable::Failed => "failed events",
                Replayable::Quarantined => "quarantined messages",
            };
            self.client.execute(audit, &[&self.actor, org_id.as_uuid(), &subject, &count]).await?;
        }
        let mut replayed = Replayed { seen: page.len() as u64, ..Replayed::default() };
        for event in &page {
            let replay = match kind {
                Replayable::Quarantined => self.replay_quarantined(reader, event).await,
                Replayable::Applied => self.replay_event("SELECT replay_event_v1($1, $2)", event).await,
                Replayable::Failed => self.replay_event("SELECT replay_failed_operation_v1($1, $2)", event).await,
            };
            match replay {
                Ok(found) => replayed.replayed += u64::from(found),
                Err(failure) => {
                    tracing::error!(org.id = %event.org_id, event.key = event.event_id, %failure, "replay failed");
                    replayed.failed += 1;
                }
            }
        }
        replayed.next = page.into_iter().next_back();
        Ok(replayed)
    }

    /// False: the event no longer exists, was applied meanwhile, or its key is revoked.
    async fn replay_event(&self, statement: &str, event: &ReplayCursor) -> Result<bool, Failure> {
        self.value(statement, &[event.org_id.as_uuid(), &event.event_id]).await
    }

    /// False: the message no longer exists, its key is revoked, or this version does not know its type either.
    async fn replay_quarantined(
        &self,
        reader: Option<&(dyn ReadQuarantined + Send + Sync)>,
        event: &ReplayCursor,
    ) -> Result<bool, Failure> {
        let statement = "SELECT sealed, key_version, received_at FROM quarantined_messages \
            WHERE org_id = $1 AND event_id = $2";
        let Some(row) = self.client.query_opt(statement, &[event.org_id.as_uuid(), &event.event_id]).await? else {
            return Ok(false);
        };
        let message = QuarantinedMessage {
            org_id: event.org_id,
            id: event.event_id.clone(),
            sealed: row.try_get("sealed")?,
            key_version: row.try_get("key_version")?,
            received_at: row.try_get("received_at")?,
        };
        let delivery = match reader.map_or(Reading::Unreadable, |reader| reader.read(&message)) {
            Reading::Event(delivery) => Some(delivery),
            Reading::NotStored => None,
            Reading::Unknown => return Ok(false),
            Reading::Unreadable => return Err(FailureCode::EventUnreadable.into()),
        };
        let key = delivery.as_ref().map(|delivery| delivery.key.as_str());
        let typed = delivery.as_ref().map(|delivery| Json(&delivery.event));
        let links = delivery.as_ref().filter(|delivery| !delivery.links.is_empty());
        let links = links.map(|delivery| Json(&delivery.links));
        let statement = "SELECT apply_quarantined_v1($1, $2, $3, $4, $5)";
        self.value(statement, &[event.org_id.as_uuid(), &event.event_id, &key, &typed, &links]).await
    }

    /// Ordered by the unique key, so that a page is one range of its index.
    async fn page(
        &self,
        kind: Replayable,
        selection: &Selection,
        after: Option<&ReplayCursor>,
        limit: i64,
    ) -> Result<Vec<ReplayCursor>, Failure> {
        let statement = format!(
            "SELECT org_id, event_id FROM {} AND ($8::uuid IS NULL OR (org_id, event_id) > ($8, $9)) \
            ORDER BY org_id, event_id LIMIT $10",
            selected(kind)
        );
        let (org_id, event_id) = after.map(|cursor| (*cursor.org_id.as_uuid(), cursor.event_id.as_str())).unzip();
        let parameters = Parameters::of(selection);
        let rows = self.client.query(&statement, &parameters.and(&[&org_id, &event_id, &limit])).await?;
        let cursor = |row: &tokio_postgres::Row| {
            Ok(ReplayCursor {
                org_id: OrgId::from(row.try_get::<_, Uuid>("org_id")?),
                event_id: row.try_get("event_id")?,
            })
        };
        Ok(rows.iter().map(cursor).collect::<Result<_, tokio_postgres::Error>>()?)
    }
}

/// Excludes tool calls and recordings, because their work is done outside the database. A tool call is never sent again
/// automatically; a recording is redriven. An event that was removed after its retention cannot be applied.
const FAILED_EVENTS: &str = "state <> 'resolved' AND event IS NOT NULL AND function NOT IN ('tool-calls', 'recording-upload') AND ($6::text IS NULL OR code = $6)";

/// The selected events, as the part of the statement after FROM.
fn selected(kind: Replayable) -> String {
    // Applied events have no code, so a selection with a code has none of them. The other entries of the log have no
    // effects.
    let (table, code) = match kind {
        Replayable::Applied => (
            "processed_webhook_events",
            "$6::text IS NULL AND event_type NOT IN ('operation-failed', 'recording-ready')",
        ),
        Replayable::Failed => ("failed_operations", FAILED_EVENTS),
        Replayable::Quarantined => ("quarantined_messages", "$6::text IS NULL"),
    };
    format!("{table} WHERE {SELECTED} AND {code}")
}
