//! `end-of-call-report`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Cost, CostBreakdown, Details, EventType, RecordingKind, Turn, cost, destination, duration, outputs, recording,
};
use crate::call::CallFacts;
use crate::conversation;
use crate::fingerprint::Fingerprint;
use crate::json::Limits;
use crate::link;
use crate::object::Object;
use crate::reason::{self, ReasonFamily};
use crate::sensitive::Sensitive;

/// Limits for an analysis or a structured output, whose shape the customer defines.
const OUTPUT: Limits = Limits { bytes: 256 * 1024, depth: 64 };

/// The result of a call (`ServerMessageEndOfCallReport`, and undocumented fields of real bodies).
///
/// A call may have several reports, of which the first is preliminary, so every field is optional.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Always `end-of-call-report`.
    pub event_type: EventType,
    /// `timestamp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_time: Option<Timestamp>,
    /// The call.
    pub call: CallFacts,
    /// `endedReason`, as Vapi's text, because the enum is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_reason: Option<String>,
    /// The family of the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_family: Option<ReasonFamily>,
    /// `startedAt`. Absent if the call never connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// `endedAt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The duration in whole seconds: `durationSeconds`, `durationMs`, `durationMinutes`, or the time between start
    /// and end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<i64>,
    /// `cost`, or `costBreakdown.total`, or the sum of `costs`, in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// `costBreakdown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_breakdown: Option<CostBreakdown>,
    /// `costs`, the first 100 items.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<Cost>,
    /// `summary`, or `Analysis.summary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Sensitive<String>>,
    /// `Analysis.successEvaluation`, such as `true`, `8` or `Pass`, depending on the assistant's rubric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_evaluation: Option<Sensitive<String>>,
    /// `Analysis.structuredData`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured_data: Option<Sensitive<Value>>,
    /// `structuredOutputs` of the message, the artifact, the analysis or the call, by their ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured_outputs: Option<Sensitive<Value>>,
    /// `destination`: the number, the SIP URI or the name of the assistant to which the call was forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Sensitive<String>>,
    /// Facts without a column of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// `transcript`, or `Artifact.transcript`: the whole conversation, one line per turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<Sensitive<String>>,
    /// `Artifact.messages`: the conversation turn by turn, for calls without `transcript` events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conversation: Vec<Turn>,
    /// `recordingUrl`, or `Artifact.recording.mono.combinedUrl`: a stable identifier, not a working link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording_url: Option<Sensitive<String>>,
    /// `stereoRecordingUrl`, or `Artifact.recording.stereoUrl`: a stable identifier, not a working link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stereo_recording_url: Option<Sensitive<String>>,
    /// The recordings for which the report has a link or an identifier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recordings: Vec<RecordingKind>,
}

impl Report {
    /// Reads a field from the message first, then from its artifact or analysis, because real bodies repeat the fields
    /// in the message.
    pub(super) fn read(message: &Object<'_>, call: CallFacts) -> Self {
        let artifact = message.object("artifact");
        let analysis = message.object("analysis");
        let snapshot = message.object("call");
        let reason = reason::read(message, "endedReason").or_else(|| reason::read(&snapshot, "call.endedReason"));
        let (ended_reason, reason_family) = reason.unzip();
        let started_at = message.time("startedAt").or_else(|| snapshot.time("call.startedAt"));
        let ended_at = message.time("endedAt").or_else(|| snapshot.time("call.endedAt"));
        let recording_url = recording_url(message, &artifact);
        let stereo_recording_url = stereo_recording_url(message, &artifact);
        Self {
            event_type: EventType::EndOfCallReport,
            message_time: message.time("timestamp"),
            call,
            reason_family,
            ended_reason,
            started_at,
            ended_at,
            duration_seconds: duration::read(message, started_at, ended_at),
            cost: cost::total(message),
            cost_breakdown: CostBreakdown::read(message),
            costs: Cost::read_all(message),
            summary: message.sensitive_text("summary").or_else(|| analysis.sensitive_text("analysis.summary")),
            success_evaluation: analysis.scalar_text("analysis.successEvaluation").map(Sensitive::from),
            structured_data: analysis.json("analysis.structuredData", OUTPUT).map(Sensitive::from),
            structured_outputs: outputs::read(message, OUTPUT),
            destination: destination::read(message).or_else(|| destination::read(&snapshot)),
            details: Details::of_report(message, OUTPUT),
            transcript: conversation::transcript(message, "transcript")
                .or_else(|| conversation::transcript(&artifact, "artifact.transcript")),
            conversation: Turn::read_all(message, &artifact, &snapshot),
            recordings: recording::kinds_of_report(message, recording_url.is_some(), stereo_recording_url.is_some()),
            recording_url,
            stereo_recording_url,
        }
    }

    /// Feeds all facts to the event key.
    pub(super) fn feed(&self, fingerprint: &mut Fingerprint) {
        let Self {
            event_type: _, // part of the key itself
            message_time,
            call,
            ended_reason,
            reason_family: _, // derived from the reason
            started_at,
            ended_at,
            duration_seconds,
            cost,
            cost_breakdown,
            costs,
            summary,
            success_evaluation,
            structured_data,
            structured_outputs,
            destination,
            details,
            transcript,
            conversation,
            recording_url,
            stereo_recording_url,
            recordings: _, // derived from the links, which differ between deliveries
        } = self;
        call.feed(fingerprint);
        fingerprint
            .time("message_time", *message_time)
            .text("ended_reason", ended_reason.as_deref())
            .time("started_at", *started_at)
            .time("ended_at", *ended_at)
            .integer("duration_seconds", *duration_seconds)
            .number("cost", *cost)
            .secret_text("summary", summary.as_ref())
            .secret_text("success_evaluation", success_evaluation.as_ref())
            .json("structured_data", structured_data.as_ref().map(Sensitive::expose))
            .json("structured_outputs", structured_outputs.as_ref().map(Sensitive::expose))
            .secret_text("destination", destination.as_ref())
            .secret_text("transcript", transcript.as_ref())
            .secret_text("recording_url", recording_url.as_ref())
            .secret_text("stereo_recording_url", stereo_recording_url.as_ref());
        if let Some(cost_breakdown) = cost_breakdown {
            cost_breakdown.feed(fingerprint);
        }
        if let Some(details) = details {
            details.feed(fingerprint);
        }
        if !conversation.is_empty() {
            fingerprint.json("conversation", serde_json::to_value(conversation).ok().as_ref());
        }
        Cost::feed(costs, fingerprint);
    }
}

fn recording_url(message: &Object<'_>, artifact: &Object<'_>) -> Option<Sensitive<String>> {
    stable_link(message, "recordingUrl")
        .or_else(|| stable_link(artifact, "artifact.recordingUrl"))
        .or_else(|| mono_link(artifact, "artifact.recording"))
        .or_else(|| mono_link(message, "recording"))
}

/// The mono recording of a `recording`, which is an object, or the link to the mono recording itself.
fn mono_link(object: &Object<'_>, path: &'static str) -> Option<Sensitive<String>> {
    if object.is_text(path) {
        return stable_link(object, path);
    }
    stable_link(&object.object(path).object_or_text("recording.mono"), "recording.mono.combinedUrl")
}

fn stereo_recording_url(message: &Object<'_>, artifact: &Object<'_>) -> Option<Sensitive<String>> {
    stable_link(message, "stereoRecordingUrl")
        .or_else(|| stable_link(artifact, "artifact.stereoRecordingUrl"))
        .or_else(|| stable_link(&artifact.object_or_text("artifact.recording"), "artifact.recording.stereoUrl"))
}

fn stable_link(object: &Object<'_>, path: &'static str) -> Option<Sensitive<String>> {
    object.converted(path, link::stable).map(Sensitive::from)
}
