//! Replay: the effects of kept events once more, or those of failed events for the first time.

use std::collections::BTreeMap;

use ringfence_protocol::admin::{ReplayCursor, Replayable, Replayed, Selection};
use ringfence_vapi::OrgId;
use uuid::Uuid;

use super::Admin;
use super::selection::{Parameters, SELECTED};
use crate::error::Failure;

impl Admin {
    /// How many events a replay of this selection would take.
    pub async fn count_replayable(&self, kind: Replayable, selection: &Selection) -> Result<i64, Failure> {
        let statement = format!("SELECT count(*) FROM {}", selected(kind));
        self.value(&statement, &Parameters::of(selection).and(&[])).await
    }

    /// Replays at most `limit` events of the selection, those after `after`, each in a transaction of its own: one that fails
    /// stops no other. What is replayed of which org is in the audit log before it begins.
    pub async fn replay(
        &self,
        kind: Replayable,
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
            };
            self.client.execute(audit, &[&self.actor, org_id.as_uuid(), &subject, &count]).await?;
        }
        let mut replayed = Replayed::default();
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

    /// False: the event is no longer there, was applied meanwhile, or its key does not count.
    async fn replay_event(&self, kind: Replayable, event: &ReplayCursor) -> Result<bool, Failure> {
        let statement = match kind {
            Replayable::Applied => "SELECT replay_event_v1($1, $2)",
            Replayable::Failed => "SELECT replay_failed_operation_v1($1, $2)",
        };
        self.value(statement, &[event.org_id.as_uuid(), &event.event_id]).await
    }

    /// In the order of the unique key, so that each page is one range of its index.
    async fn page(
        &self,
        kind: Replayable,
        selection: &Selection,
        after: Option<&ReplayCursor>,
        limit: i64,
    ) -> Result<Vec<ReplayCursor>, Failure> {
        let statement = format!(
            "SELECT org_id, event_id FROM {} AND ($8::uuid IS NULL OR (org_id, event_id) > ($8, $9)) ORDER BY org_id, event_id LIMIT $10",
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

/// Tool calls and recordings are no events: their work leaves the database. The former are never sent again by themselves, the
/// latter are redriven.
const FAILED_EVENTS: &str =
    "state <> 'resolved' AND function NOT IN ('tool-calls', 'recording-upload') AND ($6::text IS NULL OR code = $6)";

/// The selected events, as what follows FROM.
fn selected(kind: Replayable) -> String {
    // Applied events have no code: whoever names one selects none of them. What the log holds besides has no effects.
    let (table, code) = match kind {
        Replayable::Applied => (
            "processed_webhook_events",
            "$6::text IS NULL AND event_type NOT IN ('operation-failed', 'recording-ready')",
        ),
        Replayable::Failed => ("failed_operations", FAILED_EVENTS),
    };
    format!("{table} WHERE {SELECTED} AND {code}")
}
