//! Facts about a call that have no column of their own (`call_logs.details`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::cost::numbers;
use super::destination;
use crate::fingerprint::Fingerprint;
use crate::json::Limits;
use crate::object::Object;
use crate::sensitive::Sensitive;

/// The most turns of a call whose latencies are kept.
const MAX_LATENCIES: usize = 1_000;
/// The most transfers of a call that are kept.
const MAX_TRANSFERS: usize = 50;
/// The most debugging artifacts that are kept, and the longest of them in characters.
const MAX_ARTIFACTS: usize = 32;
const MAX_ARTIFACT: usize = 1_000;
/// Limits for scorecards, whose criteria the customer defines.
const SCORECARDS: Limits = Limits { bytes: 64 * 1024, depth: 32 };

/// Facts about a call that lists and filters do not need. Each field is one key of `call_logs.details`; of several
/// events, the newest that has a key decides it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// `Analysis.structuredDataMulti`: in a squad, an entry per assistant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured_data_multi: Option<Sensitive<Value>>,
    /// `Compliance.recordingConsent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording_consent: Option<RecordingConsent>,
    /// `Artifact.performanceMetrics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance: Option<Performance>,
    /// `Artifact.scorecards`, by their ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scorecards: Option<Sensitive<Value>>,
    /// `Artifact.transfers`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfers: Vec<Transfer>,
    /// `ServerMessageStatusUpdate.inboundPhoneCallDebuggingArtifacts`: why an inbound call was not accepted. Vapi does
    /// not document the names; `error` and `assistantRequestError` occur. The response of the server, which may hold
    /// credentials, is left out with all other values that are not plain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub debugging: BTreeMap<String, Sensitive<String>>,
}

/// The customer's consent to the recording.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingConsent {
    /// `type`: `stay-on-line`, `verbal`, or one that Vapi adds.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub consent_type: Option<String>,
    /// `grantedAt`. Absent if the customer gave no consent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_at: Option<Timestamp>,
}

/// Latencies in milliseconds, and counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Performance {
    /// Averages and counts of the whole call, under Vapi's names, such as `turnLatencyAverage`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measures: BTreeMap<String, Number>,
    /// `turnLatencies`: the latencies of each turn of the assistant, under Vapi's names, such as `modelLatency`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<BTreeMap<String, Number>>,
}

/// A transfer of the call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// A number, a SIP URI or the name of an assistant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Sensitive<String>>,
    /// `mode`, such as `blind-transfer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

impl Details {
    /// The details of a report. `None` if it has none.
    pub(super) fn of_report(message: &Object<'_>, outputs: Limits) -> Option<Self> {
        let (artifact, analysis) = (message.object("artifact"), message.object("analysis"));
        Self {
            structured_data_multi: analysis.json("analysis.structuredDataMulti", outputs).map(Sensitive::from),
            recording_consent: RecordingConsent::read(message),
            performance: Performance::read(&artifact.object("artifact.performanceMetrics")),
            scorecards: artifact.json("artifact.scorecards", SCORECARDS).map(Sensitive::from),
            transfers: Transfer::read_all(&artifact),
            debugging: debugging(message),
        }
        .known()
    }

    /// The details of a status update. `None` if it has none.
    pub(super) fn of_status_update(message: &Object<'_>) -> Option<Self> {
        Self { debugging: debugging(message), ..Self::default() }.known()
    }

    fn known(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }

    /// Feeds all details to an event key, as the JSON that is stored.
    pub(super) fn feed(&self, fingerprint: &mut Fingerprint) {
        fingerprint.json("details", serde_json::to_value(self).ok().as_ref());
    }
}

impl RecordingConsent {
    fn read(message: &Object<'_>) -> Option<Self> {
        let consent = |compliance: &Object<'_>| {
            let consent = compliance.object("compliance.recordingConsent");
            let read = Self {
                consent_type: consent.token("recordingConsent.type"),
                granted_at: consent.time("recordingConsent.grantedAt"),
            };
            (read != Self::default()).then_some(read)
        };
        let own = consent(&message.object("compliance"));
        own.or_else(|| consent(&message.object("call").object("call.compliance")))
    }
}

impl Performance {
    fn read(metrics: &Object<'_>) -> Option<Self> {
        let turns = metrics.objects("performanceMetrics.turnLatencies").unwrap_or_default();
        let turns = turns.iter().take(MAX_LATENCIES).map(numbers).filter(|turn| !turn.is_empty());
        let read = Self { measures: numbers(metrics), turns: turns.collect() };
        (read != Self::default()).then_some(read)
    }
}

impl Transfer {
    fn read_all(artifact: &Object<'_>) -> Vec<Self> {
        let transfers = artifact.objects("artifact.transfers").unwrap_or_default();
        let transfers = transfers.iter().take(MAX_TRANSFERS).map(Self::read);
        transfers.filter(|transfer| *transfer != Self::default()).collect()
    }

    fn read(transfer: &Object<'_>) -> Self {
        Self {
            destination: destination::read(transfer),
            mode: transfer.token("transfers.mode"),
            status: transfer.token("transfers.status"),
        }
    }
}

/// The plain values among the debugging artifacts. A value whose name could be that of a credential is left out.
fn debugging(message: &Object<'_>) -> BTreeMap<String, Sensitive<String>> {
    const CREDENTIALS: [&str; 6] = ["secret", "token", "key", "password", "authorization", "header"];
    let artifacts = message.object("inboundPhoneCallDebuggingArtifacts");
    let may_be_kept = |name: &str| {
        let lower = name.to_ascii_lowercase();
        name.len() <= 64 && !CREDENTIALS.iter().any(|word| lower.contains(word))
    };
    let mut plain: Vec<_> = artifacts.scalar_fields(MAX_ARTIFACT).filter(|(name, _)| may_be_kept(name)).collect();
    plain.sort_unstable();
    plain.into_iter().take(MAX_ARTIFACTS).map(|(name, text)| (name, text.into())).collect()
}
