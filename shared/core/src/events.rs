//! Applies stored events. One SQL statement claims an event, applies its effects and returns the org's viewers.

use std::fmt::Debug;

use jiff::Timestamp;
use ringfence_protocol::{ConnectionId, Credential, Delivery};
use ringfence_vapi::OrgId;
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql, Type};
use uuid::Uuid;

use crate::database::{Database, Parameter};
use crate::error::Failure;
use crate::failures;
use crate::live;

/// The result of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Claimed and applied, in one transaction.
    Applied {
        org_id: OrgId,
        sequence: i64,
        /// The WebSocket connections that watch the org.
        viewers: Vec<ConnectionId>,
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
    let row = database.query_one("SELECT * FROM apply_event_v1($1, $2, $3, $4, $5, $6, $7)", &parameters).await?;
    outcome(&row)
}

/// A credential as `p_org_id` and `p_key_version`. The platform's is NULL and NULL.
/// Whether an event is erased. `org_id` is None for an event from the platform URL. False if its org is unknown.
pub async fn is_erased(
    database: &Database,
    org_id: Option<OrgId>,
    event: &(impl Serialize + Debug + Sync),
    received_at: Timestamp,
) -> Result<bool, Failure> {
    let (org_id, event) = (org_id.map(|org| *org.as_uuid()), Json(event));
    let event: &(dyn ToSql + Sync) = &event;
    let parameters = [(&org_id as _, Type::UUID), (event, Type::JSONB), (&received_at as _, Type::TIMESTAMPTZ)];
    Ok(database.query_one("SELECT is_event_erased_v1($1, $2, $3)", &parameters).await?.try_get(0)?)
}

pub(crate) fn credential_columns(credential: Credential) -> (Option<Uuid>, Option<i32>) {
    match credential {
        Credential::Org { org_id, key_version } => (Some(*org_id.as_uuid()), Some(key_version)),
        Credential::Platform => (None, None),
    }
}

fn outcome(row: &Row) -> Result<Outcome, Failure> {
    let org_id = || row.try_get::<_, Uuid>("event_org").map(OrgId::from);
    Ok(match row.try_get("outcome")? {
        "applied" => {
            Outcome::Applied { org_id: org_id()?, sequence: row.try_get("sequence")?, viewers: live::viewers(row)? }
        }
        "duplicate" => Outcome::Duplicate { org_id: org_id()? },
        "unresolved" => Outcome::Unresolved,
        "revoked" => Outcome::Revoked,
        _ => return Err(Failure::unknown_outcome()),
    })
}
