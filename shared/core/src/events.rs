//! Applies stored events. One SQL statement claims an event, applies its effects and returns the org's viewers.

use ringfence_protocol::{Credential, Delivery};
use ringfence_vapi::{Event, OrgId};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use crate::database::{Database, Parameter};
use crate::error::Failure;
use crate::failures;

/// The result of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Claimed and applied, in one transaction.
    Applied {
        org_id: OrgId,
        sequence: i64,
        /// The WebSocket connections that watch the org.
        viewers: Vec<String>,
    },
    /// A delivery with this event key was applied before. Nothing was changed.
    Duplicate { org_id: OrgId },
    /// The org of a platform event is unknown. The event is stored and applied when an agent with one of its ids is
    /// registered.
    Unresolved,
    /// The key was revoked when the event was received. Nothing was changed.
    Revoked,
}

pub async fn apply_event(database: &Database, delivery: &Delivery) -> Result<Outcome, Failure> {
    let (org_id, key_version) = credential_columns(delivery.credential);
    let (key, event, failures) = (delivery.key.as_str(), Json(&delivery.event), failures::of(delivery));
    let links = (!delivery.links.is_empty()).then_some(Json(&delivery.links));
    let parameters: [Parameter<'_>; 7] = [
        (&org_id, Type::UUID),
        (&key_version, Type::INT4),
        (&key, Type::TEXT),
        (&event, Type::JSONB),
        (&delivery.received_at, Type::TIMESTAMPTZ),
        (&failures, Type::JSONB),
        (&links, Type::JSONB),
    ];
    let (statement, count) = match delivery.event {
        Event::CallStarted(_) => ("SELECT * FROM apply_call_started_v1($1, $2, $3, $4, $5, $6)", 6),
        Event::CallEnded(_) => ("SELECT * FROM apply_call_ended_v1($1, $2, $3, $4, $5, $6)", 6),
        Event::CallEvent(_) => ("SELECT * FROM apply_call_event_v1($1, $2, $3, $4, $5, $6)", 6),
        Event::Transcript(_) => ("SELECT * FROM apply_transcript_v1($1, $2, $3, $4, $5, $6)", 6),
        Event::EndOfCallReport(_) => ("SELECT * FROM apply_end_of_call_report_v1($1, $2, $3, $4, $5, $6, $7)", 7),
    };
    let row = database.query_one(statement, &parameters[..count]).await?;
    outcome(&row)
}

/// A credential as `p_org_id` and `p_key_version`. The platform's is NULL and NULL.
pub(crate) fn credential_columns(credential: Credential) -> (Option<Uuid>, Option<i32>) {
    match credential {
        Credential::Org { org_id, key_version } => (Some(org_id.0), Some(key_version)),
        Credential::Platform => (None, None),
    }
}

fn outcome(row: &Row) -> Result<Outcome, Failure> {
    let org_id = || row.try_get::<_, Uuid>("event_org").map(OrgId);
    Ok(match row.try_get("outcome")? {
        "applied" => {
            Outcome::Applied { org_id: org_id()?, sequence: row.try_get("sequence")?, viewers: row.try_get("viewers")? }
        }
        "duplicate" => Outcome::Duplicate { org_id: org_id()? },
        "unresolved" => Outcome::Unresolved,
        "revoked" => Outcome::Revoked,
        _ => return Err(Failure::unknown_outcome()),
    })
}
