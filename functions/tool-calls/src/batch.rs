//! The executions of one message in the database.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ringfence_core::error::Failure;
use ringfence_core::interactive::{
    Admission, Claimed, ExecutionState, Sender, Wanted, claim_tool_calls, finish_tool_call,
};
use ringfence_core::{Database, LeaseHolder};
use ringfence_identity::{NumberHasher, Verified};
use ringfence_runtime::catch_panics;
use ringfence_vapi::interactive::{Interactive, ToolCall, ToolResult};
use ringfence_vapi::{FailureCode, LeadId, OrgId};

use crate::outcome::Outcome;

/// Bounds the whole request. Vapi gives up after 20 seconds unless the tool has its own timeout, and Lambda has the
/// same limit.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(18);
/// The part of that time for the endpoints. The rest is for storing their results.
const ENDPOINT_TIMEOUT: Duration = Duration::from_secs(15);

/// The org of a message, with the caller if the org knows the number.
#[derive(Clone, Copy)]
pub(crate) struct Org {
    pub(crate) org_id: OrgId,
    pub(crate) lead_id: Option<LeadId>,
}

/// The calls of one message, with the data that they share.
pub(crate) struct Batch<'a> {
    database: &'a Database,
    pub(crate) sender: Sender<'a>,
    number_tombstones: Vec<String>,
    /// The id of this request, which holds the leases.
    holder: LeaseHolder,
    /// When all requests to endpoints end.
    pub(crate) endpoints_until: Instant,
    /// When the whole request ends.
    end: Instant,
    /// By execution id.
    calls: BTreeMap<String, &'a ToolCall>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(
        database: &'a Database,
        numbers: &NumberHasher,
        verified: &Verified<'_>,
        message: &'a Interactive,
        calls: BTreeMap<String, &'a ToolCall>,
    ) -> Self {
        let (conversation, began) = (&message.conversation, Instant::now());
        let number = conversation.customer_number.as_ref();
        Self {
            database,
            sender: Sender { credential: verified.credential(), received_at: verified.received_at(), conversation },
            number_tombstones: number.map(|number| numbers.hashes(number.expose())).unwrap_or_default(),
            holder: LeaseHolder::random(),
            endpoints_until: began + ENDPOINT_TIMEOUT,
            end: began + TOTAL_TIMEOUT,
            calls,
        }
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &String> {
        self.calls.keys()
    }

    pub(crate) fn call(&self, id: &str) -> Option<&'a ToolCall> {
        self.calls.get(id).copied()
    }

    pub(crate) async fn claim_all(&self) -> Result<Admission<Claimed>, Failure> {
        self.claim(&self.wanted().collect::<Vec<_>>()).await
    }

    /// The current state of a call that another request executed at the last look.
    pub(crate) async fn state(&self, id: &str) -> ExecutionState {
        let wanted: Vec<_> = self.wanted().filter(|wanted| wanted.execution_id == id).collect();
        match self.claim(&wanted).await {
            Ok(Admission::Known(claimed)) => {
                claimed.executions.into_iter().next().map_or(ExecutionState::Running, |execution| execution.state)
            }
            // The database may be available again before the time is up.
            Ok(Admission::Revoked | Admission::Unresolved) | Err(_) => ExecutionState::Running,
        }
    }

    /// Stores an outcome. Returns the result that answers every delivery.
    pub(crate) async fn finish(&self, org_id: OrgId, id: &str, outcome: &Outcome) -> Result<ToolResult, Failure> {
        let Outcome { result, code, .. } = outcome;
        self.in_time(finish_tool_call(self.database, org_id, id, self.holder, result, *code)).await
    }

    async fn claim(&self, wanted: &[Wanted<'_>]) -> Result<Admission<Claimed>, Failure> {
        let claim = claim_tool_calls(self.database, &self.sender, self.holder, &self.number_tombstones, wanted);
        self.in_time(claim).await
    }

    /// The result of a database operation, or a timeout when the request must end.
    async fn in_time<T>(&self, operation: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let answer = tokio::time::timeout_at(self.end.into(), catch_panics(operation)).await;
        answer.unwrap_or_else(|_| Err(FailureCode::DatabaseTimeout.into()))
    }

    fn wanted(&self) -> impl Iterator<Item = Wanted<'_>> {
        // A call without a name has no execution id (Plan).
        self.calls.iter().filter_map(|(id, call)| Some(Wanted { execution_id: id, tool: call.name.as_deref()? }))
    }
}
