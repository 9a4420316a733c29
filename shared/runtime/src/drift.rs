//! Drift: messages of types and fields of names that this version does not know, because Vapi adds them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ringfence_core::Database;
use ringfence_core::drift::{self, FieldCount, Quarantined, Retention};
use ringfence_core::interactive::Admission;
use ringfence_identity::{MessageSealer, Unauthorised, Verified};
use ringfence_vapi::{Drift, OrgId, UnknownMessage};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::metrics::{Counts, Metric};
use crate::panics::catch_panics;
use crate::reception::{Answer, Refusal};

/// The largest body of a message of an unknown type, without configuration.
const MAX_BYTES: usize = 64 * 1024;
/// How often one execution environment writes the counts of one org.
const FLUSH_INTERVAL: Duration = Duration::from_mins(1);
/// How long a webhook waits for that.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
/// The most names of one org and the most orgs between two writes. What is more is not counted.
const MAX_NAMES: usize = 64;
const MAX_ORGS: usize = 256;

/// Stores messages of unknown types.
pub struct Quarantine {
    pub database: Arc<Database>,
    pub sealer: MessageSealer,
}

impl Quarantine {
    /// Stores a message, sealed. A message that is too large, that names no org or for which the org has no room is
    /// acknowledged and counted.
    pub async fn retain(&self, verified: &Verified<'_>, message: UnknownMessage, counts: &mut Counts) -> Answer {
        counts.add(Metric::UnknownMessage, 1);
        let message_type = message.message_type.clone();
        let retention =
            if message.body.expose().len() > MAX_BYTES { None } else { self.store(verified, message).await? };
        match retention {
            Some(Retention::Revoked) => return Err(Unauthorised.into()),
            Some(Retention::Retained) => {
                counts.add(Metric::Quarantined, 1);
                tracing::warn!(
                    org.id = verified.credential().org().map(|org| org.to_string()),
                    message.r#type = message_type,
                    "a message of an unknown type was retained"
                );
            }
            Some(Retention::Duplicate) => counts.add(Metric::Duplicate, 1),
            Some(Retention::Erased) => {}
            Some(Retention::Full) | None => {
                counts.add(Metric::NotQuarantined, 1);
                tracing::warn!(
                    org.id = verified.credential().org().map(|org| org.to_string()),
                    message.r#type = message_type,
                    "a message of an unknown type was not retained: it is too large, names no org, or there are too many"
                );
            }
        }
        Ok(json!({}))
    }

    /// `None`: the org is not known, or the message cannot be sealed.
    async fn store(&self, verified: &Verified<'_>, mut message: UnknownMessage) -> Result<Option<Retention>, Refusal> {
        let (credential, received_at) = (verified.credential(), verified.received_at());
        let refused = |failure: ringfence_core::Failure| {
            tracing::error!(failure.code = %failure.code, "a message of an unknown type was not retained");
            Refusal::new(failure.code, &"the database did not accept the message: send it again")
        };
        let found = drift::find_org(&self.database, credential, &message.conversation, received_at);
        let org_id = match catch_panics(found).await.map_err(refused)? {
            Admission::Known(org_id) => org_id,
            Admission::Unresolved => return Ok(None),
            Admission::Revoked => return Ok(Some(Retention::Revoked)),
        };
        self.sealer.mark(&mut message);
        let body = message.body.expose();
        let id = hex::encode(Sha256::digest(body));
        let Ok(sealed) = self.sealer.seal(org_id, &id, body) else { return Ok(None) };
        let quarantined = Quarantined {
            org_id,
            credential,
            id: &id,
            message_type: &message.message_type,
            message_time: message.message_time,
            conversation: &message.conversation,
            sealed: &sealed,
            received_at,
        };
        catch_panics(drift::quarantine(&self.database, &quarantined)).await.map(Some).map_err(refused)
    }
}

/// Counts unknown field names.
///
/// The counts of an org wait in memory and are written at most once a minute, so that a field that Vapi adds to every
/// message does not cost a statement per webhook. The first name of an org is written at once. An environment that ends
/// loses the counts of its last minute: they tell which fields are new, and are no accounts.
pub struct DriftCounter {
    database: Arc<Database>,
    pending: Mutex<HashMap<Option<OrgId>, Pending>>,
}

#[derive(Default)]
struct Pending {
    /// By message type and field.
    counts: BTreeMap<(String, String), u64>,
    /// By the wall clock, because a monotonic clock stops while the environment is frozen.
    written_at: Option<SystemTime>,
}

impl DriftCounter {
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database, pending: Mutex::default() }
    }

    /// Counts the names of a message, and writes the org's counts if they are due.
    pub async fn count(&self, verified: &Verified<'_>, message_type: &str, found: &Drift, counts: &mut Counts) {
        counts.add(Metric::UnknownFields, found.fields.len() as u64);
        let credential = verified.credential();
        let Some(fields) = self.add(credential.org(), message_type, &found.fields) else { return };
        let write =
            drift::count_fields(&self.database, credential, &found.conversation, &fields, verified.received_at());
        let written = tokio::time::timeout(FLUSH_TIMEOUT, catch_panics(write)).await;
        if let Ok(Err(failure)) = written {
            tracing::warn!(failure.code = %failure.code, "unknown field names were not counted");
        }
    }

    /// Adds names. Returns the counts to be written now.
    fn add(&self, org: Option<OrgId>, message_type: &str, fields: &[String]) -> Option<Vec<FieldCount>> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.len() >= MAX_ORGS && !pending.contains_key(&org) {
            pending.clear();
        }
        let pending = pending.entry(org).or_default();
        if org.is_none() {
            // With the platform's key only this message's org can be found, so the names of others are not kept.
            pending.counts.clear();
        }
        for field in fields {
            let key = (message_type.to_owned(), field.clone());
            if pending.counts.len() < MAX_NAMES || pending.counts.contains_key(&key) {
                *pending.counts.entry(key).or_default() += 1;
            }
        }
        let now = SystemTime::now();
        // A clock that was set back makes the counts due.
        let is_early = |at| now.duration_since(at).is_ok_and(|age| age < FLUSH_INTERVAL);
        if pending.written_at.is_some_and(is_early) {
            return None;
        }
        pending.written_at = Some(now);
        let counts = std::mem::take(&mut pending.counts).into_iter();
        Some(counts.map(|((message_type, field), messages)| FieldCount { message_type, field, messages }).collect())
    }
}
