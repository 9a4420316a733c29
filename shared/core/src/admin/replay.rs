//! Replay: applies the effects of retained events again, or those of failed events for the first time.

use std::collections::BTreeMap;

use ringfence_protocol::admin::{Replayable, Selection};
use ringfence_vapi::OrgId;
use serde::{Deserialize, Serialize};
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

impl Admin {
    pub async fn count_replayable(&self, kind: Replayable, selection: &Selection) -> Result<i64, Failure> {
        let statement = format!("SELECT count(*) FROM {}", selected(kind));
        self.value(&statement, &Parameters::of(selection).and(&[])).await
    }

    /// Replays at most `limit` events of the selection that follow `after`, each in its own transaction; a failed event
    /// does not affect the others. The audit log has the number of events of each org before the replay begins.
    pub async fn replay(
        &self,
        kind: Replayable,
        selection: &Selection,
        after: Option<&ReplayCursor>,
        limit: i64,
    ) -> Result<Replayed, Failure> {
        let page = self.page(kind, selection, after, limit).await?;
        let mut counts: BTreeMap<Uuid, i64> = BTreeMap::new();
        for event in &page {
            *counts.entry(event.org_id.0).or_default() += 1;
        }
        for (org_id, count) in counts {
            let audit = "SELECT audit($1, 'event.replay', $2, $3, jsonb_build_object('events', $4::bigint))";
            let subject = match kind {
                Replayable::Applied => "applied events",
                Replayable::Failed => "failed events",
            };
            self.client.execute(audit, &[&self.actor, &org_id, &subject, &count]).await?;
        }
        let mut replayed = Replayed { seen: page.len() as u64, ..Replayed::default() };
        for event in &page {
            match self.replay_event(kind, event).await {
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
    async fn replay_event(&self, kind: Replayable, event: &ReplayCursor) -> Result<bool, Failure> {
        let statement = match kind {
            Replayable::Applied => "SELECT replay_event_v1($1, $2)",
            Replayable::Failed => "SELECT replay_failed_operation_v1($1, $2)",
        };
        self.value(statement, &[&event.org_id.0, &event.event_id]).await
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
        let (org_id, event_id) = after.map(|cursor| (cursor.org_id.0, cursor.event_id.as_str())).unzip();
        let parameters = Parameters::of(selection);
        let rows = self.client.query(&statement, &parameters.and(&[&org_id, &event_id, &limit])).await?;
        let cursor = |row: &tokio_postgres::Row| {
            Ok(ReplayCursor { org_id: OrgId(row.try_get("org_id")?), event_id: row.try_get("event_id")? })
        };
        Ok(rows.iter().map(cursor).collect::<Result<_, tokio_postgres::Error>>()?)
    }
}

/// Excludes tool calls and recordings, because their work is done outside the database. A tool call is never sent again
/// automatically; a recording is redriven.
const FAILED_EVENTS: &str =
    "state <> 'resolved' AND function NOT IN ('tool-calls', 'recording-upload') AND ($6::text IS NULL OR code = $6)";

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
    };
    format!("{table} WHERE {SELECTED} AND {code}")
}
