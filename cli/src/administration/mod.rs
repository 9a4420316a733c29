//! Acts of administration: the same on the local stack, where they are performed in this process, and on a deployed one,
//! where its migrate function performs them.

mod deployed;
pub(crate) mod local;

pub(crate) use deployed::order;
use ringfence_protocol::admin::{Command, Reply};

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
    pub(crate) async fn perform(&self, act: Command) -> Result<Reply> {
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
    pub(crate) async fn perform(&self, act: impl FnOnce(String) -> Command) -> Result<Reply> {
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
fn describe(act: &Command) -> &'static str {
    match act {
        Command::Migrate => "migrate the database",
        Command::Verify => "verify the database",
        Command::CreateOrganization { .. } => "create the org",
        Command::ListOrganizations { .. } => "list the orgs",
        Command::RotateKey { .. } => "rotate the org's key",
        Command::AddAgent { .. } => "add the agent",
        Command::AddLead { .. } => "add the lead",
        Command::ChangeLead { .. } => "change the lead",
        Command::ListAgents { .. } => "list the agents",
        Command::ConfigureAgent { .. } => "configure the agent",
        Command::ListTools { .. } => "list the tools",
        Command::SetTool { .. } => "register the tool",
        Command::RemoveTool { .. } => "remove the tool",
        Command::ShowToolSecret { .. } => "show the secret",
        Command::SetVapiKey { .. } => "keep the org's key at Vapi",
        Command::SetRetention { .. } => "set a retention",
        Command::SetZeroRetention { .. } => "set zero retention",
        Command::Connect { .. } => "look at Vapi",
        Command::Inspect {} => "look at the queues",
        Command::Erase { .. } => "erase",
        Command::SettleToolCall { .. } => "settle the tool call",
        Command::MintToken { .. } => "make the token",
        Command::MintConsoleToken { .. } => "make the link",
        Command::ListFailures { .. } => "list the failed operations",
        Command::CountRedrive { .. } => "count the dead letters",
        Command::StartRedrive { .. } => "redrive the dead letters",
        Command::CountReplay { .. } => "count the events",
        Command::StartReplay { .. } => "replay the events",
        Command::ContinueOperations {} => "continue redrives and replays",
        Command::ListOperations { .. } => "list redrives and replays",
    }
}

/// The answer to another act than the one that was asked for.
pub(crate) fn unexpected(answer: &Reply) -> Error {
    // Its content may hold a key.
    let kind = serde_json::to_value(answer).ok().and_then(|answer| Some(answer.get("answer")?.to_string()));
    let kind = kind.unwrap_or_default();
    Error::new(format!("the stack gave an answer that does not fit ({kind}): is its version another than this tool's?"))
}
