//! The commands of the console, for the function `console-commands`. The console is reachable from the internet, and this is all that
//! it may invoke.

use aws_sdk_sqs::Client;
use jiff::Timestamp;
use ringfence_identity::{Audience, Claims, Scope, Tokens};
use ringfence_protocol::admin::{ConsoleCommand, ConsoleReply, ConsoleRequest, Replayable, Secret, Selection};
use ringfence_runtime::{Environment, Misconfigured};
use ringfence_vapi::OrgId;
use uuid::Uuid;

use crate::CommandError;
use crate::operations::Operations;

/// Dead letters per second that a redrive moves, and events per second that a replay applies, at most.
const PER_SECOND: u32 = 50;

pub struct ConsoleCommands {
    tokens: Tokens,
    operations: Operations,
}

impl ConsoleCommands {
    /// From `RINGFENCE_MASTER_KEYS` and the variables of [`Operations::from_environment`].
    pub fn from_environment(
        environment: &Environment<'_>,
        sqs: &Client,
        s3: aws_sdk_s3::Client,
    ) -> Result<Self, Misconfigured> {
        Ok(Self {
            tokens: Tokens::new(&environment.master_keys()?),
            operations: Operations::from_environment(environment, sqs, s3)?,
        })
    }

    /// Carries out a command in the name of the token's holder.
    pub async fn perform(&self, request: ConsoleRequest) -> Result<ConsoleReply, CommandError> {
        let ConsoleRequest { token, command } = request;
        let Claims { holder: actor, .. } = self.authorise(&token, command.org_id())?;
        Ok(match command {
            ConsoleCommand::Redrive { org_id, call_id, code, event_id, before } => {
                let selection = Selection { org_id: Some(org_id), call_id, code, event_id, ..Selection::default() };
                let started = self.operations.start_redrive(actor, Uuid::new_v4(), selection, PER_SECOND, Some(before));
                ConsoleReply::Operation(Box::pin(started).await?)
            }
            ConsoleCommand::Replay { org_id, call_id } => {
                let selection = Selection { org_id: Some(org_id), call_id: Some(call_id), ..Selection::default() };
                let (id, kind) = (Uuid::new_v4(), Replayable::Applied);
                let started = self.operations.start_replay(actor, id, kind, selection, PER_SECOND);
                ConsoleReply::Operation(Box::pin(started).await?)
            }
            ConsoleCommand::Settle { org_id, event_id } => {
                if !self.operations.admin(actor).await?.settle_tool_call(org_id, &event_id).await? {
                    return Err(CommandError::NoSuch("open failure of a tool call"));
                }
                ConsoleReply::Settled {}
            }
            ConsoleCommand::Unmask { org_id, event_id } => {
                let event = self.operations.admin(actor).await?.unmask(org_id, &event_id).await?;
                ConsoleReply::Unmasked { event: event.map(Into::into) }
            }
        })
    }

    fn authorise(&self, token: &Secret, org_id: OrgId) -> Result<Claims, CommandError> {
        let claims = self.tokens.verify(Audience::Console, token.expose(), Timestamp::now())?;
        match claims.scope {
            Scope::Operator => Ok(claims),
            Scope::Org(own) if own == org_id => Ok(claims),
            Scope::Org(_) => Err(CommandError::OtherOrg),
        }
    }
}
