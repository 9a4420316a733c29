//! Metrics in CloudWatch's embedded metric format: one line of JSON on standard output, from which CloudWatch extracts the metrics.
//!
//! No metric has a dimension by org, call or message type, since CloudWatch bills each combination as a metric of its own. The line
//! carries them as fields, which Logs Insights can search. Only the metric [`FAILED`] has a dimension: the failure code.

use std::io::Write as _;
use std::sync::LazyLock;
use std::time::Instant;

use jiff::Timestamp;
use ringfence_vapi::FailureCode;
use serde_json::{Map, Value, json};
use strum::{EnumIter, IntoEnumIterator as _, IntoStaticStr};

/// `STACK_NAME`, which only a deployment has.
static NAMESPACE: LazyLock<String> =
    LazyLock::new(|| std::env::var("STACK_NAME").unwrap_or_else(|_| "ringfence".to_owned()));

/// A count.
#[derive(Clone, Copy, Debug, EnumIter, IntoStaticStr, PartialEq, Eq)]
pub enum Metric {
    /// A webhook was received, authenticated or not.
    Received,
    /// A stored event was claimed and applied.
    Applied,
    /// A stored event had been applied before.
    Duplicate,
    /// A stored event was sent to its retry queue.
    Queued,
    /// A platform event whose org is not registered yet was stored.
    Unresolved,
    /// A webhook without a valid credential or with an unusable body was refused.
    Refused,
    /// Neither the database nor a queue accepted a stored event.
    NotTaken,
    /// A message of an unknown type was received.
    UnknownMessage,
    /// A message of an unknown type was stored.
    Quarantined,
    /// A message of an unknown type was acknowledged and not stored: it is too large, names no org, or there are too many.
    NotQuarantined,
    /// Field names of known types that this version does not know.
    UnknownFields,
    /// Fields of a wrong type that were treated as absent.
    UnreadableFields,
    /// A message was moved to a dead-letter queue.
    DeadLettered,
    /// A queued event failed and will be retried.
    Retried,
    /// Frames that reached a viewer.
    Pushed,
    /// Frames that did not reach a connected viewer.
    PushFailed,
    /// Viewers whose connection no longer exists.
    ViewerGone,
    /// A connection was refused: its token or its org has too many.
    ViewerRefused,
    /// An interactive message was answered from the org's configuration.
    Answered,
    /// An interactive message was answered with "nothing configured".
    NothingConfigured,
    /// An assistant request was answered from memory or by the fallback, since the database was unavailable.
    FellBack,
    /// A tool call was sent to its endpoint.
    ToolExecuted,
    /// A tool call was answered with its stored result.
    ToolRepeated,
    /// A tool call, or a question to an endpoint, failed.
    ToolFailed,
    /// The message to fetch a recording was sent.
    RecordingQueued,
    /// The message to fetch a recording was not sent in time: maintenance sends it.
    RecordingUnannounced,
    /// A recording was stored in the bucket.
    RecordingStored,
    /// A recording could not be fetched; the fetch will be retried.
    RecordingRetried,
    /// A recording was removed after its retention.
    RecordingRemoved,
    /// A retained event was removed after its retention.
    ClaimsRemoved,
    /// A call without a report was found.
    CallsWithoutReport,
    /// A missing report was fetched from Vapi and queued.
    Reconciled,
    /// A missing report cannot be fetched.
    CallsUnreachable,
    /// The maintenance job `watch` ran.
    MaintenanceRan,
    /// Gauge: platform events whose org is not registered.
    UnresolvedEvents,
    /// Gauge: age in seconds of the oldest event that keeps failing.
    OldestRetrySeconds,
    /// Gauge: recordings that are not fetched and whose links expire soon.
    RecordingLinksExpiring,
    /// Gauge: orgs that had calls regularly and have had none for a day.
    OrgsSilent,
}

/// A measured value.
#[derive(Clone, Copy, Debug, EnumIter, IntoStaticStr, PartialEq, Eq)]
pub enum Measure {
    /// Milliseconds from a webhook's bytes to its answer.
    Latency,
    /// Seconds from the receipt of a queued event to an attempt.
    RetryAge,
}

impl Measure {
    const fn unit(self) -> &'static str {
        match self {
            Self::Latency => "Milliseconds",
            Self::RetryAge => "Seconds",
        }
    }
}

/// The metric of failures and refusals. Its dimension is the failure code: some fifty values, which no sender can add to.
pub const FAILED: &str = "Failed";

/// The metrics of one invocation.
#[derive(Debug)]
pub struct Counts {
    began: Instant,
    totals: Vec<(Metric, u64)>,
    values: Vec<(Measure, f64)>,
    failed: Vec<(FailureCode, u64)>,
    fields: Map<String, Value>,
}

impl Default for Counts {
    fn default() -> Self {
        let (totals, values, failed) = (Vec::new(), Vec::new(), Vec::new());
        Self { began: Instant::now(), totals, values, failed, fields: Map::new() }
    }
}

impl Counts {
    pub fn add(&mut self, metric: Metric, count: u64) {
        match self.totals.iter_mut().find(|(counted, _)| *counted == metric) {
            Some((_, total)) => *total += count,
            None => self.totals.push((metric, count)),
        }
    }

    pub fn measure(&mut self, measure: Measure, value: f64) {
        self.values.push((measure, value));
    }

    /// Measures the time since the invocation started.
    pub fn measure_latency(&mut self) {
        self.measure(Measure::Latency, self.began.elapsed().as_secs_f64() * 1000.0);
    }

    /// Counts a failure or a refusal.
    pub fn failed(&mut self, code: FailureCode) {
        match self.failed.iter_mut().find(|(counted, _)| *counted == code) {
            Some((_, total)) => *total += 1,
            None => self.failed.push((code, 1)),
        }
    }

    /// Adds a searchable field. Never personal data.
    pub fn field(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// Writes the lines to standard output.
    pub fn emit(self) {
        let now = Timestamp::now();
        for line in self.lines(now) {
            // A metric that cannot be written must not fail the webhook it counts.
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
    }

    /// One line, and one more for each failure code, since a line has one value for a dimension.
    fn lines(mut self, now: Timestamp) -> Vec<Value> {
        let failed = std::mem::take(&mut self.failed);
        let mut lines = Vec::new();
        if !self.totals.is_empty() {
            lines.push(self.line(now));
        }
        lines.extend(failed.into_iter().map(|(code, count)| {
            let directive = json!({"Namespace": *NAMESPACE, "Dimensions": [["code"]], "Metrics": [{"Name": FAILED, "Unit": "Count"}]});
            json!({"code": code.to_string(), FAILED: count,
                "_aws": {"Timestamp": now.as_millisecond(), "CloudWatchMetrics": [directive]}})
        }));
        lines
    }

    fn line(self, now: Timestamp) -> Value {
        let mut definitions: Vec<_> =
            self.totals.iter().map(|(metric, _)| json!({"Name": <&str>::from(metric), "Unit": "Count"})).collect();
        let mut line = self.fields;
        for (metric, count) in self.totals {
            line.insert(<&str>::from(metric).to_owned(), count.into());
        }
        for measure in Measure::iter() {
            let values: Vec<f64> =
                self.values.iter().filter(|(of, _)| *of == measure).map(|(_, value)| *value).collect();
            if !values.is_empty() {
                definitions.push(json!({"Name": <&str>::from(measure), "Unit": measure.unit()}));
                line.insert(<&str>::from(measure).to_owned(), values.into());
            }
        }
        let directive = json!({"Namespace": *NAMESPACE, "Dimensions": [[]], "Metrics": definitions});
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
        counts.measure(Measure::RetryAge, 4.0);
        counts.measure(Measure::RetryAge, 2.0);
        counts.failed(FailureCode::KeyRevoked);
        counts.failed(FailureCode::KeyRevoked);
        let lines = counts.lines("2026-11-22T12:00:00Z".parse().unwrap());
        assert_eq!(
            lines,
            [
                json!({
                    "_aws": {"Timestamp": 1_795_348_800_000_u64, "CloudWatchMetrics": [{
                        "Namespace": "ringfence", "Dimensions": [[]],
                        "Metrics": [{"Name": "Received", "Unit": "Count"}, {"Name": "UnreadableFields", "Unit": "Count"},
                            {"Name": "RetryAge", "Unit": "Seconds"}],
                    }]},
                    "message.type": "status-update", "Received": 1, "UnreadableFields": 3, "RetryAge": [4.0, 2.0],
                }),
                json!({
                    "_aws": {"Timestamp": 1_795_348_800_000_u64, "CloudWatchMetrics": [{
                        "Namespace": "ringfence", "Dimensions": [["code"]], "Metrics": [{"Name": "Failed", "Unit": "Count"}],
                    }]},
                    "code": "RF2004", "Failed": 2,
                })
            ]
        );
    }
}
