//! Tool calls of models, each executed once however often Vapi delivers it. A call is claimed with a lease, sent to the endpoint that its
//! org registered, and its result is stored; that result answers every delivery. Vapi always gets status 200 and a result for each call,
//! an error in words that a model can speak about if need be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ringfence_core::error::Failure;
use ringfence_core::interactive::{
    Admission, Claimed, Endpoint, Execution, Sender, Standing, Wanted, claim_tool_calls, finish_tool_call,
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

/// The longest wait for all of it. Vapi gives up after 20 seconds unless the tool says otherwise, and so does Lambda.
const PATIENCE: Duration = Duration::from_secs(18);
/// The endpoints' part of that; the rest is for their results.
const ENDPOINTS: Duration = Duration::from_secs(15);
/// An endpoint that had so much less than its own time was cut short by us.
const CUT_SHORT: Duration = Duration::from_secs(1);
/// How often a call that somebody else executes is asked for.
const POLL: Duration = Duration::from_millis(400);
/// More calls than any model makes at once. What is above is refused.
const MAX_CALLS: usize = 32;

/// Executes tool calls.
pub struct Tools {
    database: Arc<Database>,
    endpoints: Arc<Endpoints>,
}

/// A message's calls on their way, and what they have in common.
struct Batch<'a> {
    sender: Sender<'a>,
    /// The request that holds the leases.
    holder: LeaseHolder,
    /// No endpoint is waited for any longer.
    endpoints_until: Instant,
    /// Nor is anything else.
    end: Instant,
    /// By execution.
    calls: BTreeMap<String, &'a ToolCall>,
}

/// What a call came to, and why if it failed.
struct Outcome {
    result: ToolResult,
    code: Option<FailureCode>,
    metric: Metric,
}

impl Outcome {
    fn failed(code: FailureCode) -> Self {
        Self { result: ToolResult::error(words(code)), code: Some(code), metric: Metric::ToolFailed }
    }
}

impl Tools {
    /// Claims in `database` and sends by `endpoints`.
    #[must_use]
    pub fn new(database: Arc<Database>, endpoints: Arc<Endpoints>) -> Self {
        Self { database, endpoints }
    }
}

impl Respond for Tools {
    /// Executes the calls of a message side by side, and answers with a result for each, unless the key does not count.
    async fn answer(&self, verified: &Verified<'_>, message: &Interactive, counts: &mut Counts) -> Answer {
        let calls = match &message.question {
            Question::ToolCalls(calls) => calls.as_slice(),
            Question::FunctionCall(call) => std::slice::from_ref(call),
            Question::Assistant | Question::Inquiry(_) => return wrong_route(message),
        };
        let (call, began) = (message.call.as_ref(), Instant::now());
        let batch = Batch {
            sender: Sender { credential: verified.credential(), received_at: verified.received_at(), call },
            holder: LeaseHolder::random(),
            endpoints_until: began + ENDPOINTS,
            end: began + PATIENCE,
            calls: executable(calls, call.map(|call| &call.id)),
        };
        let outcomes = match self.claim(&batch, &batch.wanted()).await {
            Ok(Admission::Known(claimed)) => self.settle_all(&batch, claimed).await,
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
                let id = tool_call.execution_id(call.map(|call| &call.id));
                let outcome = id.as_ref().and_then(|id| outcomes.get(id));
                (tool_call, outcome.map_or_else(|| refuse(tool_call, counts), |outcome| outcome.result.clone()))
            })
            .collect();
        count(counts, &outcomes);
        Ok(tool_results(&message.question, &results))
    }
}

impl Tools {
    async fn settle_all(&self, batch: &Batch<'_>, claimed: Claimed) -> BTreeMap<String, Outcome> {
        let Claimed { org_id, lead_id, executions } = claimed;
        let settled = executions.into_iter().map(async |execution| {
            let began = Instant::now();
            let id = execution.execution_id.clone();
            let settled = catch_panics(Box::pin(async { Ok(self.settle(batch, org_id, lead_id, execution).await) }));
            let outcome = settled.await.unwrap_or_else(|failure| Outcome::failed(failure.code));
            log(org_id, batch, &id, &outcome, began.elapsed());
            (id, outcome)
        });
        join_all(settled).await.into_iter().collect()
    }

    /// From where a call stands to what is told of it.
    async fn settle(&self, batch: &Batch<'_>, org_id: OrgId, lead_id: Option<LeadId>, execution: Execution) -> Outcome {
        let Execution { execution_id: id, mut standing } = execution;
        loop {
            match standing {
                Standing::Claimed { endpoint, attempt } => {
                    return self.execute(batch, org_id, lead_id, &id, &endpoint, attempt).await;
                }
                Standing::Done { result } => return Outcome { result, code: None, metric: Metric::ToolRepeated },
                Standing::Interrupted { result } => {
                    return Outcome { result, code: Some(FailureCode::ToolInterrupted), metric: Metric::ToolFailed };
                }
                Standing::Unregistered => return Outcome::failed(FailureCode::ToolUnknown),
                Standing::Running if Instant::now() + POLL >= batch.endpoints_until => {
                    return Outcome::failed(FailureCode::ToolTimeout);
                }
                Standing::Running => tokio::time::sleep(POLL).await,
            }
            standing = self.again(batch, &id).await;
        }
    }

    /// Where a call stands that somebody else executed a moment ago.
    async fn again(&self, batch: &Batch<'_>, id: &str) -> Standing {
        let wanted: Vec<_> = batch.wanted().into_iter().filter(|wanted| wanted.execution_id == id).collect();
        match self.claim(batch, &wanted).await {
            Ok(Admission::Known(claimed)) => {
                claimed.executions.into_iter().next().map_or(Standing::Running, |execution| execution.standing)
            }
            // The database may be back before the time is up.
            Ok(Admission::Revoked | Admission::Unresolved) | Err(_) => Standing::Running,
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
            "call_id": batch.sender.call.map(|call| &call.id),
            "lead_id": lead_id,
            "tool_call_id": call.map(|call| &call.id),
            "name": call.map(|call| &call.name),
            "arguments": call.map(|call| &call.arguments),
            "attempt": attempt,
        });
        let notice = Notice { org_id, id, kind: "tool-call", data };
        let left = batch.endpoints_until.saturating_duration_since(Instant::now());
        let is_cut_short = left + CUT_SHORT < Duration::from_secs(endpoint.timeout_seconds);
        let posted = self.endpoints.post(endpoint.address(), &notice, batch.endpoints_until).await;
        let read = posted
            .map_err(|error| error.code())
            .and_then(|body| ToolResult::read(&body).ok_or(FailureCode::ToolAnswerUnreadable));
        let outcome = match read {
            Ok(result) => Outcome { result, code: None, metric: Metric::ToolExecuted },
            Err(code) => Outcome::failed(code),
        };
        if is_cut_short && outcome.code == Some(FailureCode::ToolTimeout) {
            // It began late and may yet be done. The lease runs out, and whoever is asked then decides.
            return outcome;
        }
        let finished = finish_tool_call(&self.database, org_id, id, batch.holder, &outcome.result, outcome.code);
        match batch.in_time(finished).await {
            Ok(result) if result == outcome.result => outcome,
            // Another claimant's, which every delivery is told.
            Ok(result) => Outcome { result, code: None, metric: Metric::ToolRepeated },
            Err(failure) => {
                // Told now all the same. Whatever is delivered again later finds a lease that ran out.
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
    /// What the database answers, if it does before all time is up.
    async fn in_time<T>(&self, asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let answer = tokio::time::timeout_at(self.end.into(), catch_panics(asked)).await;
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

/// The result of a call that cannot be sent: it has no readable arguments or no id, or is one too many.
fn refuse(call: &ToolCall, counts: &mut Counts) -> ToolResult {
    let is_readable = call.arguments.expose().is_object();
    let code = if is_readable { FailureCode::ToolFailed } else { FailureCode::ToolArgumentsUnreadable };
    counts.add(Metric::ToolFailed, 1);
    counts.field("failure.code", code.to_string());
    tracing::warn!(failure.code = %code, "a tool call cannot be sent");
    ToolResult::error(words(code))
}

/// The calls that can be sent, by their executions: one that a message names twice is one.
fn executable<'a>(calls: &'a [ToolCall], call: Option<&ringfence_vapi::VapiCallId>) -> BTreeMap<String, &'a ToolCall> {
    let is_readable = |call: &&ToolCall| call.arguments.expose().is_object();
    let keyed = |tool_call: &'a ToolCall| Some((tool_call.execution_id(call)?, tool_call));
    calls.iter().filter(is_readable).take(MAX_CALLS).filter_map(keyed).collect()
}

/// What a model is told of a failure.
const fn words(code: FailureCode) -> &'static str {
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
    // What no org registered is whatever a model wrote.
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
    fn a_call_that_is_named_twice_is_sent_once_and_one_that_cannot_be_read_never() {
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
