//! Executes tool calls of models, each once, however often Vapi delivers it. The function claims a call with a lease,
//! sends it to the endpoint that the org registered, and stores the result. Every delivery is answered with the stored
//! result. Vapi always receives status 200 and a result for each call; an error is a sentence that the model can speak.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ringfence_core::error::Failure;
use ringfence_core::interactive::{
    Admission, Claimed, Endpoint, Execution, ExecutionState, Sender, Wanted, claim_tool_calls, finish_tool_call,
};
use ringfence_core::{Database, LeaseHolder};
use ringfence_egress::{Endpoints, Notice};
use ringfence_identity::{Unauthorised, Verified};
use ringfence_runtime::metrics::{Counts, Metric};
use ringfence_runtime::route::{Respond, wrong_route};
use ringfence_runtime::{Answer, Coded as _, catch_panics};
use ringfence_vapi::interactive::{Interactive, Question, ToolCall, ToolResult, tool_results};
use ringfence_vapi::{FailureCode, LeadId, OrgId, nothing_configured};
use serde_json::json;

/// Bounds the whole request. Vapi gives up after 20 seconds unless the tool has its own timeout, and Lambda has the
/// same limit.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(18);
/// The part of that time for the endpoints. The rest is for storing their results.
const ENDPOINT_TIMEOUT: Duration = Duration::from_secs(15);
/// If an endpoint had less than its own timeout minus this margin, Ringfence ended the request, not the endpoint.
const CUT_SHORT_MARGIN: Duration = Duration::from_secs(1);
/// The interval between two looks at a call that another request executes.
const POLL_INTERVAL: Duration = Duration::from_millis(400);
/// The most calls of a message, more than a model makes at once. Further calls are refused.
const MAX_CALLS: usize = 32;

pub struct Tools {
    database: Arc<Database>,
    endpoints: Arc<Endpoints>,
}

/// The calls of one message, with the data that they share.
struct Batch<'a> {
    sender: Sender<'a>,
    /// The id of this request, which holds the leases.
    holder: LeaseHolder,
    /// When all requests to endpoints end.
    endpoints_until: Instant,
    /// When the whole request ends.
    end: Instant,
    /// By execution id.
    calls: BTreeMap<String, &'a ToolCall>,
}

/// The result of a call, with the failure code if it failed.
struct Outcome {
    result: ToolResult,
    code: Option<FailureCode>,
    metric: Metric,
}

impl Outcome {
    fn failed(code: FailureCode) -> Self {
        Self { result: ToolResult::error(error_sentence(code)), code: Some(code), metric: Metric::ToolFailed }
    }
}

impl Tools {
    #[must_use]
    pub fn new(database: Arc<Database>, endpoints: Arc<Endpoints>) -> Self {
        Self { database, endpoints }
    }
}

impl Respond for Tools {
    /// Executes the calls of a message concurrently and returns a result for each, or an error if the key is revoked.
    async fn answer(&self, verified: &Verified<'_>, message: &Interactive, counts: &mut Counts) -> Answer {
        let calls = match &message.question {
            Question::ToolCalls(calls) => calls.as_slice(),
            Question::FunctionCall(call) => std::slice::from_ref(call),
            Question::Assistant | Question::Inquiry(_) => return wrong_route(message),
        };
        let (call, began) = (&message.call, Instant::now());
        let batch = Batch {
            sender: Sender { credential: verified.credential(), received_at: verified.received_at(), call },
            holder: LeaseHolder::random(),
            endpoints_until: began + ENDPOINT_TIMEOUT,
            end: began + TOTAL_TIMEOUT,
            calls: executable(calls, call.id.as_ref()),
        };
        let outcomes = match self.claim(&batch, &batch.wanted()).await {
            Ok(Admission::Known(claimed)) => self.run_all(&batch, claimed).await,
            Ok(Admission::Revoked) => return Err(Unauthorised.into()),
            Ok(Admission::Unresolved) => {
                counts.add(Metric::NothingConfigured, 1);
                return Ok(nothing_configured(message));
            }
            Err(failure) => {
                tracing::error!(failure.code = %failure.code, "tool calls could not be claimed");
                batch.calls.keys().map(|id| (id.clone(), Outcome::failed(failure.code))).collect()
            }
        };
        let results: Vec<(&ToolCall, ToolResult)> = calls
            .iter()
            .map(|tool_call| {
                let id = tool_call.execution_id(call.id.as_ref());
                let outcome = id.as_ref().and_then(|id| outcomes.get(id));
                (tool_call, outcome.map_or_else(|| refuse(tool_call, counts), |outcome| outcome.result.clone()))
            })
            .collect();
        count(counts, &outcomes);
        Ok(tool_results(&message.question, &results))
    }
}

impl Tools {
    async fn run_all(&self, batch: &Batch<'_>, claimed: Claimed) -> BTreeMap<String, Outcome> {
        let Claimed { org_id, lead_id, executions } = claimed;
        let runs = executions.into_iter().map(async |execution| {
            let began = Instant::now();
            let id = execution.execution_id.clone();
            let run = catch_panics(Box::pin(async { Ok(self.run(batch, org_id, lead_id, execution).await) }));
            let outcome = run.await.unwrap_or_else(|failure| Outcome::failed(failure.code));
            log(org_id, batch, &id, &outcome, began.elapsed());
            (id, outcome)
        });
        join_all(runs).await.into_iter().collect()
    }

    /// Brings an execution from its current state to an outcome.
    async fn run(&self, batch: &Batch<'_>, org_id: OrgId, lead_id: Option<LeadId>, execution: Execution) -> Outcome {
        let Execution { execution_id: id, mut state } = execution;
        loop {
            match state {
                ExecutionState::Claimed { endpoint, attempt } => {
                    return self.execute(batch, org_id, lead_id, &id, &endpoint, attempt).await;
                }
                ExecutionState::Done { result } => return Outcome { result, code: None, metric: Metric::ToolRepeated },
                ExecutionState::Interrupted { result } => {
                    return Outcome { result, code: Some(FailureCode::ToolInterrupted), metric: Metric::ToolFailed };
                }
                ExecutionState::Unregistered => return Outcome::failed(FailureCode::ToolUnknown),
                ExecutionState::Running if Instant::now() + POLL_INTERVAL >= batch.endpoints_until => {
                    return Outcome::failed(FailureCode::ToolTimeout);
                }
                ExecutionState::Running => tokio::time::sleep(POLL_INTERVAL).await,
            }
            state = self.poll(batch, &id).await;
        }
    }

    /// The current state of a call that another request executed at the last look.
    async fn poll(&self, batch: &Batch<'_>, id: &str) -> ExecutionState {
        let wanted: Vec<_> = batch.wanted().into_iter().filter(|wanted| wanted.execution_id == id).collect();
        match self.claim(batch, &wanted).await {
            Ok(Admission::Known(claimed)) => {
                claimed.executions.into_iter().next().map_or(ExecutionState::Running, |execution| execution.state)
            }
            // The database may be available again before the time is up.
            Ok(Admission::Revoked | Admission::Unresolved) | Err(_) => ExecutionState::Running,
        }
    }

    async fn execute(
        &self,
        batch: &Batch<'_>,
        org_id: OrgId,
        lead_id: Option<LeadId>,
        id: &str,
        endpoint: &Endpoint,
        attempt: i32,
    ) -> Outcome {
        let call = batch.calls.get(id);
        let data = json!({
            "org_id": org_id,
            "call_id": batch.sender.call.id,
            "lead_id": lead_id,
            "tool_call_id": call.map(|call| &call.id),
            "name": call.map(|call| &call.name),
            "arguments": call.map(|call| &call.arguments),
            "attempt": attempt,
        });
        let notice = Notice { org_id, id, kind: "tool-call", data };
        let left = batch.endpoints_until.saturating_duration_since(Instant::now());
        let is_cut_short = left + CUT_SHORT_MARGIN < Duration::from_secs(endpoint.timeout_seconds);
        let posted = self.endpoints.post(endpoint.address(), &notice, batch.endpoints_until).await;
        let read = posted
            .map_err(|error| error.code())
            .and_then(|body| ToolResult::read(&body).ok_or(FailureCode::ToolAnswerUnreadable));
        let outcome = match read {
            Ok(result) => Outcome { result, code: None, metric: Metric::ToolExecuted },
            Err(code) => Outcome::failed(code),
        };
        if is_cut_short && outcome.code == Some(FailureCode::ToolTimeout) {
            // The request began late, and the endpoint may still execute it. The lease expires, and the next delivery
            // decides.
            return outcome;
        }
        let finished = finish_tool_call(&self.database, org_id, id, batch.holder, &outcome.result, outcome.code);
        match batch.in_time(finished).await {
            Ok(result) if result == outcome.result => outcome,
            // The result of another claimant, which answers every delivery.
            Ok(result) => Outcome { result, code: None, metric: Metric::ToolRepeated },
            Err(failure) => {
                // This delivery is still answered with the result. A later delivery finds an expired lease.
                tracing::error!(
                    org.id = %org_id, tool.execution = id, failure.code = %failure.code,
                    "the result of a tool call was not stored"
                );
                outcome
            }
        }
    }

    async fn claim(&self, batch: &Batch<'_>, wanted: &[Wanted<'_>]) -> Result<Admission<Claimed>, Failure> {
        batch.in_time(claim_tool_calls(&self.database, &batch.sender, batch.holder, wanted)).await
    }
}

impl Batch<'_> {
    /// The result of a database operation, or a timeout when the request must end.
    async fn in_time<T>(&self, operation: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let answer = tokio::time::timeout_at(self.end.into(), catch_panics(operation)).await;
        answer.unwrap_or_else(|_| Err(FailureCode::DatabaseTimeout.into()))
    }

    fn wanted(&self) -> Vec<Wanted<'_>> {
        let wanted = |(id, call)| {
            let (execution_id, call): (&String, &&ToolCall) = (id, call);
            Wanted { execution_id, tool: call.name.as_deref().unwrap_or_default() }
        };
        self.calls.iter().map(wanted).collect()
    }
}

/// The result of a call that cannot be sent: its arguments are unreadable, its id is missing, or the message has too
/// many calls.
fn refuse(call: &ToolCall, counts: &mut Counts) -> ToolResult {
    let is_readable = call.arguments.expose().is_object();
    let code = if is_readable { FailureCode::ToolFailed } else { FailureCode::ToolArgumentsUnreadable };
    counts.add(Metric::ToolFailed, 1);
    counts.field("failure.code", code.to_string());
    tracing::warn!(failure.code = %code, "a tool call was not sent");
    ToolResult::error(error_sentence(code))
}

/// The calls that can be sent, by execution id. A call that the message contains twice appears once.
fn executable<'a>(calls: &'a [ToolCall], call: Option<&ringfence_vapi::VapiCallId>) -> BTreeMap<String, &'a ToolCall> {
    let is_readable = |call: &&ToolCall| call.arguments.expose().is_object();
    let keyed = |tool_call: &'a ToolCall| Some((tool_call.execution_id(call)?, tool_call));
    calls.iter().filter(is_readable).take(MAX_CALLS).filter_map(keyed).collect()
}

/// The sentence that the model receives for a failure.
const fn error_sentence(code: FailureCode) -> &'static str {
    match code {
        FailureCode::ToolUnknown => "This tool is not configured.",
        FailureCode::ToolArgumentsUnreadable => {
            "The arguments of this tool call could not be read. Call the tool again with complete arguments."
        }
        FailureCode::ToolTimeout => "This is taking too long. It is not known whether it was done.",
        FailureCode::ToolConnectionLost => "The connection was lost. It is not known whether it was done.",
        FailureCode::ToolFailed => "This did not work, and it is not certain whether anything was done.",
        FailureCode::ToolAnswerUnreadable | FailureCode::ToolAnswerTooLarge => {
            "The answer could not be read. It was probably done, but that is not certain."
        }
        _ => "This is not available right now. Apologise and offer another way.",
    }
}

fn count(counts: &mut Counts, outcomes: &BTreeMap<String, Outcome>) {
    for outcome in outcomes.values() {
        counts.add(outcome.metric, 1);
        if let Some(code) = outcome.code {
            counts.field("failure.code", code.to_string());
        }
    }
}

fn log(org_id: OrgId, batch: &Batch<'_>, id: &str, outcome: &Outcome, took: Duration) {
    // The name of an unregistered tool may be any text of the model, so it is not logged.
    let is_registered = outcome.code != Some(FailureCode::ToolUnknown);
    let name = batch.calls.get(id).and_then(|call| call.name.as_deref()).filter(|_| is_registered);
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        org.id = %org_id, tool.execution = id, tool.name = name, tool.outcome = <&str>::from(outcome.metric),
        failure.code = outcome.code.map(tracing::field::display), duration_ms, "a tool call was answered"
    );
}

#[cfg(test)]
mod tests {
    use ringfence_vapi::Sensitive;
    use serde_json::Value;

    use super::*;

    fn tool_call(id: Option<&str>, arguments: Value) -> ToolCall {
        ToolCall { id: id.map(str::to_owned), name: Some("book".to_owned()), arguments: Sensitive::from(arguments) }
    }

    #[test]
    fn a_repeated_call_is_sent_once_and_an_unreadable_call_never() {
        let calls = [
            tool_call(Some("a"), json!({"x": 1})),
            tool_call(Some("a"), json!({"x": 1})),
            tool_call(Some("b"), json!("{\"cut\": ")),
            tool_call(None, json!({})),
        ];
        assert_eq!(executable(&calls, None).into_keys().collect::<Vec<_>>(), ["tool-calls:-:a"]);
        let many: Vec<_> = (0..40).map(|n| tool_call(Some(&n.to_string()), json!({}))).collect();
        assert_eq!(executable(&many, None).len(), MAX_CALLS);
    }
}
