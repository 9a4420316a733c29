//! Counts, as CloudWatch's embedded metric format: one line of JSON on standard output, from which CloudWatch makes the
//! metrics. No metric has a dimension by org, call or message type: each combination would be billed as a metric of its own. The
//! line carries them as fields, to be searched.

use std::io::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The namespace of all metrics.
const NAMESPACE: &str = "Ringfence";

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// A webhook came in, whoever sent it.
    Received,
    /// A stored event was claimed and applied.
    Applied,
    /// A stored event had been applied before.
    Duplicate,
    /// A stored event waits in a retry queue.
    Queued,
    /// A platform event waits for its org to be registered.
    Unresolved,
    /// A webhook was refused: no valid credential, or a body that cannot be used.
    Refused,
    /// A stored event was taken by neither the database nor a queue.
    NotTaken,
    /// A message of a type not known here.
    UnknownMessage,
    /// Fields of a wrong type, which counted as absent.
    UnreadableFields,
    /// An event went to a dead-letter queue.
    DeadLettered,
    /// An event from a retry queue failed and will be tried again.
    Retried,
    /// Frames that reached a viewer.
    Pushed,
    /// Frames that did not reach a viewer who is there.
    PushFailed,
    /// Viewers who turned out to be gone.
    ViewerGone,
    /// An interactive message was answered by what its org has configured.
    Answered,
    /// An interactive message was answered with "nothing configured".
    NothingConfigured,
    /// An assistant request was answered from memory or by the fallback, since the database was away.
    FellBack,
    /// A tool call was sent to its endpoint.
    ToolExecuted,
    /// A tool call was answered with its stored result.
    ToolRepeated,
    /// A tool call, or a question to an endpoint, failed.
    ToolFailed,
    /// A recording was asked for.
    RecordingQueued,
    /// A recording could not be asked for in time: maintenance does.
    RecordingUnannounced,
    /// A recording was fetched and is kept.
    RecordingStored,
    /// A recording could not be fetched and will be tried again.
    RecordingRetried,
    /// A recording was removed after its retention.
    RecordingRemoved,
}

impl Metric {
    /// The metric's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "Received",
            Self::Applied => "Applied",
            Self::Duplicate => "Duplicate",
            Self::Queued => "Queued",
            Self::Unresolved => "Unresolved",
            Self::Refused => "Refused",
            Self::NotTaken => "NotTaken",
            Self::UnknownMessage => "UnknownMessage",
            Self::UnreadableFields => "UnreadableFields",
            Self::DeadLettered => "DeadLettered",
            Self::Retried => "Retried",
            Self::Pushed => "Pushed",
            Self::PushFailed => "PushFailed",
            Self::ViewerGone => "ViewerGone",
            Self::Answered => "Answered",
            Self::NothingConfigured => "NothingConfigured",
            Self::FellBack => "FellBack",
            Self::ToolExecuted => "ToolExecuted",
            Self::ToolRepeated => "ToolRepeated",
            Self::ToolFailed => "ToolFailed",
            Self::RecordingQueued => "RecordingQueued",
            Self::RecordingUnannounced => "RecordingUnannounced",
            Self::RecordingStored => "RecordingStored",
            Self::RecordingRetried => "RecordingRetried",
            Self::RecordingRemoved => "RecordingRemoved",
        }
    }
}

/// The counts of one invocation.
#[derive(Debug, Default)]
pub struct Counts {
    counts: Vec<(Metric, u64)>,
    fields: Map<String, Value>,
}

impl Counts {
    /// Adds to a metric.
    pub fn add(&mut self, metric: Metric, count: u64) {
        match self.counts.iter_mut().find(|(counted, _)| *counted == metric) {
            Some((_, total)) => *total += count,
            None => self.counts.push((metric, count)),
        }
    }

    /// Adds a field to search by. Never personal data.
    pub fn field(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// Writes the line, if anything was counted.
    pub fn emit(self) {
        if self.counts.is_empty() {
            return;
        }
        let line = self.line(Timestamp::now());
        // A metric that cannot be written must not fail the webhook it counts.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }

    fn line(self, now: Timestamp) -> Value {
        let definitions: Vec<_> =
            self.counts.iter().map(|(metric, _)| json!({"Name": metric.name(), "Unit": "Count"})).collect();
        let mut line = self.fields;
        for (metric, count) in self.counts {
            line.insert(metric.name().to_owned(), count.into());
        }
        let directive = json!({"Namespace": NAMESPACE, "Dimensions": [[]], "Metrics": definitions});
        line.insert("_aws".to_owned(), json!({"Timestamp": now.as_millisecond(), "CloudWatchMetrics": [directive]}));
        Value::Object(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_defines_each_metric_once_and_carries_its_count() {
        let mut counts = Counts::default();
        counts.add(Metric::Received, 1);
        counts.add(Metric::UnreadableFields, 1);
        counts.add(Metric::UnreadableFields, 2);
        counts.field("message.type", "status-update");
        let line = counts.line("2026-11-22T12:00:00Z".parse().unwrap());
        assert_eq!(
            line,
            json!({
                "_aws": {"Timestamp": 1_795_348_800_000_u64, "CloudWatchMetrics": [{
                    "Namespace": "Ringfence", "Dimensions": [[]],
                    "Metrics": [{"Name": "Received", "Unit": "Count"}, {"Name": "UnreadableFields", "Unit": "Count"}],
                }]},
                "message.type": "status-update", "Received": 1, "UnreadableFields": 3,
            })
        );
    }
}
