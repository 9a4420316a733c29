use ringfence_vapi::OrgId;
use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr};

/// An org as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// Part of the org's webhook URL.
    pub id: OrgId,
    pub name: String,
    /// The newest version of the org's key.
    pub key_version: i32,
}

/// An org with its newest key. Shown once; stored nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganizationKey {
    pub id: OrgId,
    /// A secret.
    pub key: String,
    /// A URL for HMAC carries it as `?v=`.
    pub key_version: i32,
    pub webhook_url: String,
}

/// The kinds of data that have their own retention in each org.
#[derive(Clone, Copy, Debug, Display, IntoStaticStr, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum RetainedData {
    /// Counted from the time at which the recording was stored.
    Recordings,
    /// Transcripts and summaries, counted from the first event of the call.
    Transcripts,
    /// Retained events: idempotency claims, timeline and source of replay.
    Events,
}

/// One check of `verify.sql`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub check: String,
    pub ok: bool,
}
