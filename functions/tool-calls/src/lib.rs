//! Executes tool calls of models, each once, however often Vapi delivers it. The function claims a call with a lease,
//! sends it to the endpoint that the org registered, and stores the result. Every delivery is answered with the stored
//! result. Vapi always receives status 200 and a result for each call; an error is a sentence that the model can speak.

mod batch;
mod outcome;
mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ringfence_core::Database;
use ringfence_core::interactive::{Admission, Claimed, Endpoint, Execution, ExecutionState};
use ringfence_egress::{Endpoints, Notice};
use ringfence_identity::{NumberHasher, Unauthorised, Verified};
use ringfence_runtime::metrics::{Counts, Metric};
use ringfence_runtime::route::{Respond, wrong_route};
use ringfence_runtime::{Answer, Coded as _, catch_panics};
use ringfence_vapi::interactive::{Interactive, Question, ToolResult, tool_results};
use ringfence_vapi::{FailureCode, nothing_configured};
use serde_json::json;

use self::batch::{Batch, Org};
use self::outcome::Outcome;
use self::plan::Plan;

/// If an endpoint had less than its own timeout minus this margin, Ringfence ended the request, not the endpoint.
const CUT_SHORT_MARGIN: Duration = Duration::from_secs(1);
/// The interval between two looks at a call that another request executes.
const POLL_INTERVAL: Duration = Duration::from_millis(400);

pub struct Tools {
    database: Arc<Database>,
    endpoints: Arc<Endpoints>,
    numbers: NumberHasher,
}

impl Tools {
    /// `numbers` hashes the customer's number, so that an erasure of the number finds its executions.
    #[must_use]
    pub fn new(database: Arc<Database>, endpoints: Arc<Endpoints>, numbers: NumberHasher) -> Self {
        Self { database, endpoints, numbers }
    }
}

impl Respond for Tools {
    /// Executes the calls of a message concurrently and returns a result for each, or an error if the key is revoked.
    async fn answer(&self, verified: &Verified<'_>, message: &Interactive, counts: &mut Counts) -> Answer {
        let plan = match &message.question {
            Question::ToolCalls(calls) => Plan::new(message, &calls.calls, calls.left_out),
            Question::FunctionCall(call) => Plan::new(message, std::slice::from_ref(call), 0),
            Question::Assistant | Question::Inquiry(_) => return wrong_route(message),
        };
        plan.report_refused(counts);
        let batch = Batch::new(&self.database, &self.numbers, verified, message, plan.executions());
        let outcomes = match batch.claim_all().await {
            Ok(Admission::Known(claimed)) => self.run_all(&batch, claimed).await,
            Ok(Admission::Revoked) => return Err(Unauthorised.into()),
            Ok(Admission::Unresolved) => {
                counts.add(Metric::NothingConfigured, 1);
                return Ok(nothing_configured(message));
            }
            Err(failure) => {
                tracing::error!(failure.code = %failure.code, "tool calls could not be claimed");
                batch.ids().map(|id| (id.clone(), Outcome::failed(failure.code))).collect()
            }
        };
        for outcome in outcomes.values() {
            outcome.count(counts);
        }
        Ok(tool_results(&message.question, &plan.results(&outcomes)))
    }
}

impl Tools {
    async fn run_all(&self, batch: &Batch<'_>, claimed: Claimed) -> BTreeMap<String, Outcome> {
        let Claimed { org_id, lead_id, executions } = claimed;
        let org = Org { org_id, lead_id };
        let runs = executions.into_iter().map(async |execution| {
            let began = Instant::now();
            let id = execution.execution_id.clone();
            let run = catch_panics(Box::pin(async { Ok(self.run(batch, org, execution).await) }));
            let outcome = run.await.unwrap_or_else(|failure| Outcome::failed(failure.code));
            outcome.log(org_id, &id, batch.call(&id), began.elapsed());
            (id, outcome)
        });
        join_all(runs).await.into_iter().collect()
    }

    /// Brings an execution from its current state to an outcome.
    async fn run(&self, batch: &Batch<'_>, org: Org, execution: Execution) -> Outcome {
        let Execution { execution_id: id, mut state } = execution;
        loop {
            match state {
                ExecutionState::Claimed { endpoint, attempt } => {
                    return self.execute(batch, org, &id, &endpoint, attempt).await;
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
            state = batch.state(&id).await;
        }
    }

    async fn execute(&self, batch: &Batch<'_>, org: Org, id: &str, endpoint: &Endpoint, attempt: i32) -> Outcome {
        let (call, conversation) = (batch.call(id), batch.sender.conversation);
        let data = json!({
            "org_id": org.org_id,
            "call_id": conversation.call_id,
            "chat_id": conversation.chat_id,
            "session_id": conversation.session_id,
            "lead_id": org.lead_id,
            "tool_call_id": call.map(|call| &call.id),
            "name": call.map(|call| &call.name),
            "arguments": call.map(|call| &call.arguments),
            "attempt": attempt,
        });
        let notice = Notice { org_id: org.org_id, id, kind: "tool-call", data };
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
        match batch.finish(org.org_id, id, &outcome).await {
            Ok(result) if result == outcome.result => outcome,
            // The result of another claimant, which answers every delivery.
            Ok(result) => Outcome { result, code: None, metric: Metric::ToolRepeated },
            Err(failure) => {
                // This delivery is still answered with the result. A later delivery finds an expired lease.
                tracing::error!(
                    org.id = %org.org_id, tool.execution = id, failure.code = %failure.code,
                    "the result of a tool call was not stored"
                );
                outcome
            }
        }
    }
}
