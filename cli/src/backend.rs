//! The stack of a verb.

use ringfence_protocol::admin::{Command, Reply};
use ringfence_protocol::maintenance::{JobRequest, Report};

use crate::error::{Error, Result};

/// The audit log stores at most this number of characters.
const MAX_ACTOR: usize = 200;

/// A stack that runs administration commands and maintenance jobs. [`DeployedStack`](crate::DeployedStack) invokes its
/// functions; the developer's tool runs them on the local stack.
pub trait Backend {
    fn command(&self, command: Command) -> impl Future<Output = Result<Reply>>;
    fn run_job(&self, request: JobRequest) -> impl Future<Output = Result<Report>>;
}

/// Actor of a command.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Administrator {
    /// Name for the audit log; by default the user's name
    #[arg(long, env = "USER", hide_env = true, default_value = "", hide_default_value = true)]
    actor: String,
}

impl Administrator {
    /// Runs the command that `command` creates from the actor's name.
    pub(crate) async fn perform(
        &self,
        backend: &impl Backend,
        command: impl FnOnce(String) -> Command,
    ) -> Result<Reply> {
        backend.command(command(self.name())).await
    }

    fn name(&self) -> String {
        match self.actor.trim() {
            "" => "unknown".to_owned(),
            name => name.chars().take(MAX_ACTOR).collect(),
        }
    }
}

/// Completes an error message that begins with "could not".
#[must_use]
pub fn describe(command: &Command) -> &'static str {
    match command {
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
        Command::SetVapiKey { .. } => "store the org's key at Vapi",
        Command::SetRetention { .. } => "set a retention",
        Command::SetZeroRetention { .. } => "set zero retention",
        Command::Connect { .. } => "inspect the configuration at Vapi",
        Command::Inspect {} => "inspect the queues",
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

/// Error for a reply whose type does not match the command.
#[must_use]
pub fn unexpected(reply: &Reply) -> Error {
    // Only the type is shown, because the reply may contain a key.
    let kind = serde_json::to_value(reply).ok().and_then(|reply| Some(reply.get("reply")?.to_string()));
    let kind = kind.unwrap_or_default();
    Error::new(format!("unexpected type of reply ({kind}): do the versions of the stack and this tool differ?"))
}
