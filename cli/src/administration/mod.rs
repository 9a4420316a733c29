//! Acts of administration: the same on the local stack, where they are performed in this process, and on a deployed one,
//! where its migrate function performs them.

mod deployed;
pub(crate) mod local;

pub(crate) use deployed::order;
use migrate::{Act, Answer};

use crate::error::{Error, Result};

/// The audit log takes as much of a name.
const MAX_ACTOR: usize = 200;

/// Where an act takes place.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Place {
    /// A deployed stack, by its CloudFormation name; without it, the local stack
    #[arg(long, value_name = "NAME")]
    pub(crate) stack: Option<String>,
}

impl Place {
    /// Performs an act.
    pub(crate) async fn perform(&self, act: Act) -> Result<Answer> {
        match &self.stack {
            Some(name) => deployed::perform(name, &act).await,
            None => local::perform(act).await,
        }
    }
}

/// Who administers, and where.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Administrator {
    /// Whom the audit log is to name; by default the user
    #[arg(long, env = "USER", hide_env = true, default_value = "", hide_default_value = true)]
    actor: String,
    #[command(flatten)]
    place: Place,
}

impl Administrator {
    /// Performs the act that `act` makes of the actor's name.
    pub(crate) async fn perform(&self, act: impl FnOnce(String) -> Act) -> Result<Answer> {
        self.place.perform(act(self.name())).await
    }

    fn name(&self) -> String {
        match self.actor.trim() {
            "" => "unknown".to_owned(),
            name => name.chars().take(MAX_ACTOR).collect(),
        }
    }
}

/// What the act is called in an error message that begins with "could not".
fn describe(act: &Act) -> &'static str {
    match act {
        Act::Migrate => "migrate the database",
        Act::Verify => "verify the database",
        Act::CreateOrganization { .. } => "create the org",
        Act::ListOrganizations { .. } => "list the orgs",
        Act::RotateKey { .. } => "rotate the org's key",
        Act::AddAgent { .. } => "add the agent",
        Act::AddLead { .. } => "add the lead",
        Act::ChangeLead { .. } => "change the lead",
        Act::ListAgents { .. } => "list the agents",
        Act::ConfigureAgent { .. } => "configure the agent",
        Act::ListTools { .. } => "list the tools",
        Act::SetTool { .. } => "register the tool",
        Act::RemoveTool { .. } => "remove the tool",
        Act::ShowToolSecret { .. } => "show the secret",
        Act::SetVapiKey { .. } => "keep the org's key at Vapi",
        Act::SetRetention { .. } => "set a retention",
        Act::SetZeroRetention { .. } => "set zero retention",
        Act::Connect { .. } => "look at Vapi",
        Act::Inspect {} => "look at the queues",
        Act::Erase { .. } => "erase",
        Act::SettleToolCall { .. } => "settle the tool call",
        Act::MintToken { .. } => "make the token",
        Act::MintConsoleToken { .. } => "make the link",
        Act::ListFailures { .. } => "list the failed operations",
        Act::Redrive { .. } => "redrive the dead letters",
        Act::CountReplay { .. } => "count the events",
        Act::Replay { .. } => "replay the events",
    }
}

/// The answer to another act than the one that was asked for.
pub(crate) fn unexpected(answer: &Answer) -> Error {
    // Its content may hold a key.
    let kind = serde_json::to_value(answer).ok().and_then(|answer| Some(answer.get("answer")?.to_string()));
    let kind = kind.unwrap_or_default();
    Error::new(format!("the stack gave an answer that does not fit ({kind}): is its version another than this tool's?"))
}
