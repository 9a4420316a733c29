//! Commands of the pages. The admin function performs and audits them.

use std::time::Duration;

use aws_types::SdkConfig;
use jiff::Timestamp;
use ringfence_aws::Invoker;
use ringfence_protocol::admin::{Command, Replayable, Selection};
use ringfence_vapi::{FailureCode, OrgId};

/// Maximum number of dead letters that a redrive moves per second.
const PER_SECOND: u32 = 50;
/// Maximum number of events of a replay.
const REPLAYED: i64 = 5000;
/// Shorter than API Gateway's timeout for the page. Lambda accepts an asynchronous invocation at once, but the local
/// stack performs it first.
const TIMEOUT: Duration = Duration::from_secs(25);

/// Invokes the admin function asynchronously. The rows show the result.
pub struct Commands {
    invoker: Invoker,
    function: String,
}

impl Commands {
    #[must_use]
    pub fn new(aws: &SdkConfig, function: String) -> Self {
        Self { invoker: Invoker::new(aws, TIMEOUT), function }
    }

    /// Moves dead letters back to their retry queues.
    pub(crate) async fn redrive(
        &self,
        actor: &str,
        selection: Selection,
        before: Timestamp,
    ) -> Result<(), FailureCode> {
        let actor = actor.to_owned();
        self.send(&Command::Redrive { actor, selection, run: true, per_second: PER_SECOND, before: Some(before) }).await
    }

    /// Applies the effects of a call's events again.
    pub(crate) async fn replay(&self, actor: &str, selection: Selection) -> Result<(), FailureCode> {
        let (actor, kind) = (actor.to_owned(), Replayable::Applied);
        self.send(&Command::Replay { actor, kind, selection, after: None, limit: REPLAYED }).await
    }

    /// Closes the failure of an interrupted tool call.
    pub(crate) async fn settle(&self, actor: &str, org_id: OrgId, event_id: String) -> Result<(), FailureCode> {
        self.send(&Command::SettleToolCall { actor: actor.to_owned(), org_id, event_id }).await
    }

    async fn send(&self, command: &Command) -> Result<(), FailureCode> {
        let payload = serde_json::to_vec(command).map_err(|_| FailureCode::QueueUnavailable)?;
        self.invoker.invoke_async(&self.function, payload).await.map_err(|_| FailureCode::QueueUnavailable)
    }
}
