//! The outcome of an execution.

use std::time::Duration;

use ringfence_runtime::metrics::{Counts, Metric};
use ringfence_vapi::interactive::{ToolCall, ToolResult};
use ringfence_vapi::{FailureCode, OrgId};

/// The result of a call, with the failure code if it failed.
pub(crate) struct Outcome {
    pub(crate) result: ToolResult,
    pub(crate) code: Option<FailureCode>,
    pub(crate) metric: Metric,
}

impl Outcome {
    pub(crate) fn failed(code: FailureCode) -> Self {
        Self { result: ToolResult::error(error_sentence(code)), code: Some(code), metric: Metric::ToolFailed }
    }

    pub(crate) fn count(&self, counts: &mut Counts) {
        counts.add(self.metric, 1);
        if let Some(code) = self.code {
            counts.field("failure.code", code.to_string());
        }
    }

    pub(crate) fn log(&self, org_id: OrgId, id: &str, call: Option<&ToolCall>, took: Duration) {
        // The name of an unregistered tool may be any text of the model, so it is not logged.
        let is_registered = self.code != Some(FailureCode::ToolUnknown);
        let name = call.and_then(|call| call.name.as_deref()).filter(|_| is_registered);
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            org.id = %org_id, tool.execution = id, tool.name = name, tool.outcome = <&str>::from(self.metric),
            failure.code = self.code.map(tracing::field::display), duration_ms, "a tool call was answered"
        );
    }
}

/// The sentence that the model receives for a failure.
pub(crate) const fn error_sentence(code: FailureCode) -> &'static str {
    match code {
        FailureCode::ToolUnknown => "This tool is not configured.",
        FailureCode::ToolArgumentsUnreadable => {
            "The arguments of this tool call could not be read. Call the tool again with complete arguments."
        }
        FailureCode::ToolCallsExcess => "Too many tools were called at once. This one was not. Call it again.",
        FailureCode::ToolTimeout => "This is taking too long. It is not known whether it was done.",
        FailureCode::ToolConnectionLost => "The connection was lost. It is not known whether it was done.",
        FailureCode::ToolFailed => "This did not work, and it is not certain whether anything was done.",
        FailureCode::ToolAnswerUnreadable | FailureCode::ToolAnswerTooLarge => {
            "The answer could not be read. It was probably done, but that is not certain."
        }
        _ => "This is not available right now. Apologise and offer another way.",
    }
}
