//! Messages and fields that this version does not know (`migrations/*__drift.sql`).

use jiff::Timestamp;
use ringfence_protocol::Credential;
use ringfence_vapi::OrgId;
use ringfence_vapi::interactive::Conversation;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_postgres::types::{Json, Type};

use crate::console::answer;
use crate::database::{Database, Parameter};
use crate::error::Failure;
use crate::events::credential_columns;
use crate::interactive::{Admission, admission};

/// A message of an unknown type, to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Quarantined<'a> {
    pub org_id: OrgId,
    pub credential: Credential,
    /// SHA-256 of the body, in hexadecimal. A redelivery has the same.
    pub id: &'a str,
    /// A token; never another text of the sender.
    pub message_type: &'a str,
    pub message_time: Option<Timestamp>,
    /// With the hashes of the number, for erasures.
    pub conversation: &'a Conversation,
    /// The sealed body.
    pub sealed: &'a str,
    pub received_at: Timestamp,
}

/// The result of storing a message of an unknown type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    Retained,
    /// It is stored already.
    Duplicate,
    /// The org has as many of these messages as may be stored.
    Full,
    /// A tombstone covers its call or its number.
    Erased,
    /// The key was revoked when the message was received.
    Revoked,
}

/// How often a field name occurred that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldCount {
    pub message_type: String,
    /// The field with its object, such as `call.newField`.
    pub field: String,
    pub messages: u64,
}

/// What an org's messages of the last 14 days had that this version does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownDrift {
    /// Quarantined messages by type, the most frequent first.
    pub types: Vec<ShownType>,
    /// Field names, the most frequent first.
    pub fields: Vec<ShownField>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownType {
    pub message_type: String,
    pub messages: u64,
    pub first: Timestamp,
    pub latest: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownField {
    pub message_type: String,
    pub field: String,
    pub messages: u64,
    /// The first and the latest hour.
    pub first: Timestamp,
    pub latest: Timestamp,
}

/// The org of a message that is neither an event nor answered. With an org's key it is known without a statement.
pub async fn find_org(
    database: &Database,
    credential: Credential,
    conversation: &Conversation,
    received_at: Timestamp,
) -> Result<Admission<OrgId>, Failure> {
    if let Some(org_id) = credential.org() {
        return Ok(Admission::Known(org_id));
    }
    let (org_id, key_version) = credential_columns(credential);
    let parameters: [Parameter<'_>; 4] = [
        (&org_id, Type::UUID),
        (&key_version, Type::INT4),
        (&Json(conversation), Type::JSONB),
        (&received_at, Type::TIMESTAMPTZ),
    ];
    let row = database.query_one("SELECT * FROM enter_sender($1, $2, $3, $4)", &parameters).await?;
    admission(&row, |_, org_id| Ok(org_id))
}

/// Stores a message of an unknown type.
pub async fn quarantine(database: &Database, message: &Quarantined<'_>) -> Result<Retention, Failure> {
    let (_, key_version) = credential_columns(message.credential);
    let facts = json!({"call": message.conversation, "message_time": message.message_time});
    let parameters: [Parameter<'_>; 7] = [
        (message.org_id.as_uuid(), Type::UUID),
        (&key_version, Type::INT4),
        (&message.id, Type::TEXT),
        (&message.message_type, Type::TEXT),
        (&facts, Type::JSONB),
        (&message.sealed, Type::TEXT),
        (&message.received_at, Type::TIMESTAMPTZ),
    ];
    let row = database.query_one("SELECT quarantine_message_v1($1, $2, $3, $4, $5, $6, $7)", &parameters).await?;
    Ok(match row.try_get(0)? {
        "retained" => Retention::Retained,
        "duplicate" => Retention::Duplicate,
        "full" => Retention::Full,
        "erased" => Retention::Erased,
        "revoked" => Retention::Revoked,
        _ => return Err(Failure::unknown_outcome()),
    })
}

/// Adds to the counts of unknown field names. `conversation` names the org of a message to the platform URL.
pub async fn count_fields(
    database: &Database,
    credential: Credential,
    conversation: &Conversation,
    fields: &[FieldCount],
    received_at: Timestamp,
) -> Result<(), Failure> {
    let (org_id, key_version) = credential_columns(credential);
    let parameters: [Parameter<'_>; 5] = [
        (&org_id, Type::UUID),
        (&key_version, Type::INT4),
        (&Json(conversation), Type::JSONB),
        (&Json(fields), Type::JSONB),
        (&received_at, Type::TIMESTAMPTZ),
    ];
    database.query_one("SELECT count_unknown_fields_v1($1, $2, $3, $4, $5)", &parameters).await?;
    Ok(())
}

/// What an org's messages had that this version does not know.
pub async fn show(database: &Database, org: OrgId) -> Result<ShownDrift, Failure> {
    answer(database, "SELECT show_drift_v1($1)", &[(org.as_uuid(), Type::UUID)]).await
}
