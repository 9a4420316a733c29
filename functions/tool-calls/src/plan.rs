//! Decides which calls of a message are executed.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_runtime::metrics::{Counts, Metric};
use ringfence_vapi::FailureCode;
use ringfence_vapi::interactive::{Interactive, ToolCall, ToolResult};

use crate::outcome::{Outcome, error_sentence};

/// The most executions of a message, more than a model asks for at once.
const MAX_EXECUTIONS: usize = 32;

/// The calls of a message, with what happens to each.
pub(crate) struct Plan<'a> {
    calls: Vec<(&'a ToolCall, Decision)>,
    left_out: usize,
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Decision {
    /// It is executed under this id. Calls with the same id are one execution.
    Execute(String),
    /// It is answered with an error.
    Refuse(FailureCode),
}

impl<'a> Plan<'a> {
    /// `left_out`: the count of calls that are not answered.
    pub(crate) fn new(message: &Interactive, calls: &'a [ToolCall], left_out: usize) -> Self {
        let mut executions = BTreeSet::new();
        let mut decide = |call: &ToolCall| match message.execution_id(call) {
            None if call.name.is_none() => Decision::Refuse(FailureCode::ToolUnknown),
            None => Decision::Refuse(FailureCode::ToolArgumentsUnreadable),
            Some(id) if executions.len() == MAX_EXECUTIONS && !executions.contains(&id) => {
                Decision::Refuse(FailureCode::ToolCallsExcess)
            }
            Some(id) => {
                executions.insert(id.clone());
                Decision::Execute(id)
            }
        };
        Self { calls: calls.iter().map(|call| (call, decide(call))).collect(), left_out }
    }

    /// The calls to execute, by execution id.
    pub(crate) fn executions(&self) -> BTreeMap<String, &'a ToolCall> {
        let execution = |(call, decision): &(&'a ToolCall, Decision)| match decision {
            Decision::Execute(id) => Some((id.clone(), *call)),
            Decision::Refuse(_) => None,
        };
        self.calls.iter().filter_map(execution).collect()
    }

    /// The result of each call, in the order of the message.
    pub(crate) fn results(&self, outcomes: &BTreeMap<String, Outcome>) -> Vec<(&'a ToolCall, ToolResult)> {
        let result = |decision: &Decision| match decision {
            Decision::Execute(id) => outcomes.get(id).map(|outcome| outcome.result.clone()),
            Decision::Refuse(code) => Some(ToolResult::error(error_sentence(*code))),
        };
        let results = self.calls.iter().map(|(call, decision)| {
            let failed = || ToolResult::error(error_sentence(FailureCode::ToolFailed));
            (*call, result(decision).unwrap_or_else(failed))
        });
        results.collect()
    }

    /// Counts the calls that are not executed, and logs one line for all of them: the sender chooses how many there are.
    pub(crate) fn report_refused(&self, counts: &mut Counts) {
        let refused = |code| self.calls.iter().filter(|(_, decision)| *decision == Decision::Refuse(code)).count();
        let excess = FailureCode::ToolCallsExcess;
        let by_code = [
            (FailureCode::ToolUnknown, refused(FailureCode::ToolUnknown)),
            (FailureCode::ToolArgumentsUnreadable, refused(FailureCode::ToolArgumentsUnreadable)),
            (excess, refused(excess) + self.left_out),
        ];
        let Some((code, _)) = by_code.into_iter().find(|(_, count)| *count > 0) else { return };
        let count = by_code.iter().map(|(_, count)| count).sum::<usize>();
        counts.add(Metric::ToolFailed, u64::try_from(count).unwrap_or(u64::MAX));
        counts.field("failure.code", code.to_string());
        let [(_, unnamed), (_, unreadable), (_, excess)] = by_code;
        tracing::warn!(
            failure.code = %code, tool.unnamed = unnamed, tool.unreadable = unreadable, tool.excess = excess,
            "tool calls were not sent"
        );
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ringfence_vapi::interactive::{Conversation, Question};
    use serde_json::{Map, json};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    fn tool_call(id: &str, name: Option<&str>, is_readable: bool) -> ToolCall {
        let arguments = is_readable.then(|| Map::new().into());
        ToolCall { id: id.to_owned(), name: name.map(str::to_owned), arguments }
    }

    fn plan(calls: &[ToolCall]) -> Plan<'_> {
        let conversation = Conversation { chat_id: Some("h1".to_owned()), ..Conversation::default() };
        let message = Interactive { conversation, message_time: None, question: Question::Assistant };
        Plan::new(&message, calls, 0)
    }

    fn failed(code: FailureCode) -> serde_json::Value {
        json!(ToolResult::error(error_sentence(code)))
    }

    /// Counts log lines.
    #[derive(Clone, Default)]
    struct Lines(Arc<AtomicUsize>);

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    /// E1: a message writes one line about all calls that are not sent, however many there are.
    #[test]
    fn refused_calls_are_logged_once_with_their_count() {
        let calls: Vec<_> =
            (0..500).map(|n| tool_call(&n.to_string(), (n % 2 == 0).then_some("book"), n < 250)).collect();
        for (calls, left_out, lines) in
            [(&calls[..0], 0, 0), (&calls[..1], 0, 0), (&calls[..0], 70_000, 1), (&calls[..], 9, 1)]
        {
            let counted = Lines::default();
            let plan = Plan { left_out, ..plan(calls) };
            tracing::subscriber::with_default(counted.clone(), || plan.report_refused(&mut Counts::default()));
            assert_eq!(counted.0.load(Ordering::Relaxed), lines);
        }
    }

    #[test]
    fn each_call_is_answered_in_order_and_a_repeated_one_is_executed_once() {
        let calls = [
            tool_call("a", Some("book"), true),
            tool_call("b", Some("book"), false),
            tool_call("a", Some("book"), true),
            tool_call("c", None, true),
        ];
        let plan = plan(&calls);
        let executions = plan.executions();
        assert_eq!(executions.len(), 1);
        let id = executions.into_keys().next().unwrap();
        let outcome = Outcome { result: ToolResult::error("x"), code: None, metric: Metric::ToolExecuted };
        let results = plan.results(&BTreeMap::from([(id, outcome)]));
        let results: Vec<_> = results.into_iter().map(|(call, result)| (call.id.as_str(), json!(result))).collect();
        let executed = json!({"error": "x"});
        let expected = [
            ("a", executed.clone()),
            ("b", failed(FailureCode::ToolArgumentsUnreadable)),
            ("a", executed),
            ("c", failed(FailureCode::ToolUnknown)),
        ];
        assert_eq!(results, expected);
    }

    /// E1: calls beyond the limit are answered, too.
    #[test]
    fn calls_beyond_the_limit_are_refused_except_repetitions() {
        let mut calls: Vec<_> = (0..40).map(|n| tool_call(&n.to_string(), Some("book"), true)).collect();
        calls.push(calls[0].clone());
        let plan = plan(&calls);
        assert_eq!(plan.executions().len(), MAX_EXECUTIONS);
        let results = plan.results(&BTreeMap::new());
        assert_eq!(results.len(), 41);
        let excess = failed(FailureCode::ToolCallsExcess);
        assert_eq!(results.iter().filter(|(_, result)| json!(result) == excess).count(), 8);
        assert_ne!(json!(results[40].1), excess, "it is the first one again");
    }
}
