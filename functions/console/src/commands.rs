//! The commands that people give on the pages. The admin function carries them out and audits them.

use std::time::Duration;

use aws_types::SdkConfig;
use jiff::Timestamp;
use ringfence_aws::Invoker;
use ringfence_protocol::admin::{Command, Replayable, Selection};
use ringfence_vapi::{FailureCode, OrgId};

/// Dead letters per second that a redrive moves, at most.
const PER_SECOND: u32 = 50;
/// Events of a call that are replayed, at most.
const REPLAYED: i64 = 5000;
/// Shorter than API Gateway waits for the page that follows. Lambda accepts an invocation at once; a local stand-in carries it out first.
const TIMEOUT: Duration = Duration::from_secs(25);

/// Sends commands to the admin function and does not wait for their end: the rows show it.
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

    /// Applies the effects of a call's events once more.
    pub(crate) async fn replay(&self, actor: &str, selection: Selection) -> Result<(), FailureCode> {
        let (actor, kind) = (actor.to_owned(), Replayable::Applied);
        self.send(&Command::Replay { actor, kind, selection, after: None, limit: REPLAYED }).await
    }

    /// Closes the failure of a tool call whose outcome somebody found out.
    pub(crate) async fn settle(&self, actor: &str, org_id: OrgId, event_id: String) -> Result<(), FailureCode> {
        self.send(&Command::SettleToolCall { actor: actor.to_owned(), org_id, event_id }).await
    }

    async fn send(&self, command: &Command) -> Result<(), FailureCode> {
        let payload = serde_json::to_vec(command).map_err(|_| FailureCode::QueueUnavailable)?;
        self.invoker.invoke_async(&self.function, payload).await.map_err(|_| FailureCode::QueueUnavailable)
    }
}
