//! Counts, as CloudWatch's embedded metric format: one line of JSON on standard output, from which CloudWatch makes the
//! metrics. No metric has a dimension by org, call or message type: each combination would be billed as a metric of its own. The
//! line carries them as fields, to be searched. One metric alone has a dimension, the failure's code.

use std::io::Write as _;
use std::sync::LazyLock;
use std::time::Instant;

use jiff::Timestamp;
use ringfence_vapi::FailureCode;
use serde_json::{Map, Value, json};
use strum::{EnumIter, IntoEnumIterator as _, IntoStaticStr};

/// The namespace of all metrics: `METRICS_NAMESPACE`, which is the stack's name where it is deployed.
static NAMESPACE: LazyLock<String> =
    LazyLock::new(|| std::env::var("METRICS_NAMESPACE").unwrap_or_else(|_| "ringfence".to_owned()));

/// What is counted.
#[derive(Clone, Copy, Debug, EnumIter, IntoStaticStr, PartialEq, Eq)]
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
    /// An event was removed after its retention.
    ClaimsRemoved,
    /// A call was found whose report never came.
    CallsWithoutReport,
    /// Vapi was asked for a missing report, and it is on its way.
    Reconciled,
    /// A missing report cannot be had.
    CallsUnreachable,
    /// A maintenance job that watches has run.
    MaintenanceRan,
    /// Platform events that wait for their org to be registered: how many there are, as maintenance saw it.
    UnresolvedEvents,
    /// Seconds since the oldest event came that keeps failing.
    OldestRetrySeconds,
    /// Recordings that are not fetched and whose links are about to die.
    RecordingLinksDying,
    /// Orgs that used to have calls, and have none for a day.
    OrgsSilent,
}

/// What is measured.
#[derive(Clone, Copy, Debug, EnumIter, IntoStaticStr, PartialEq, Eq)]
pub enum Measure {
    /// Milliseconds from a webhook's bytes to its answer.
    Latency,
    /// Seconds since a queued event was received, when it is tried.
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

/// Counts failures and refusals, with the code as its one dimension: there are some fifty, and never more by what is sent.
pub const FAILED: &str = "Failed";

/// The counts of one invocation.
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
    /// Adds to a metric.
    pub fn add(&mut self, metric: Metric, count: u64) {
        match self.totals.iter_mut().find(|(counted, _)| *counted == metric) {
            Some((_, total)) => *total += count,
            None => self.totals.push((metric, count)),
        }
    }

    /// Adds a measured value.
    pub fn measure(&mut self, measure: Measure, value: f64) {
        self.values.push((measure, value));
    }

    /// Measures the time since these counts were begun.
    pub fn measure_latency(&mut self) {
        self.measure(Measure::Latency, self.began.elapsed().as_secs_f64() * 1000.0);
    }

    /// Counts a failure, or a refusal, by its code.
    pub fn failed(&mut self, code: FailureCode) {
        match self.failed.iter_mut().find(|(counted, _)| *counted == code) {
            Some((_, total)) => *total += 1,
            None => self.failed.push((code, 1)),
        }
    }

    /// Adds a field to search by. Never personal data.
    pub fn field(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// Writes the lines, if anything was counted.
    pub fn emit(self) {
        let now = Timestamp::now();
        for line in self.lines(now) {
            // A metric that cannot be written must not fail the webhook it counts.
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
    }

    /// One line, and one more for each code: a line has one value for a dimension.
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
