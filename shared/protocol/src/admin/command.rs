use jiff::Timestamp;
use ringfence_vapi::{AgentId, OrgId, Sensitive, exact_numbers};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strum::{IntoStaticStr, VariantNames};
use uuid::Uuid;

use super::{NewAgent, Replayable, RetainedData, Selection, Target, Tool, ToolKind};

/// A secret in a command. Its `Debug` output does not contain the secret.
pub type Secret = Sensitive<String>;

/// A command. `actor` is the name that the audit log records.
#[derive(Clone, Debug, IntoStaticStr, VariantNames, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", remote = "Self")]
#[strum(serialize_all = "kebab-case")]
pub enum Command {
    /// Applies the missing migrations.
    Migrate,
    /// Runs `verify.sql`.
    Verify,
    /// Creates an org.
    CreateOrganization { actor: String, name: String },
    /// Lists all orgs.
    ListOrganizations { actor: String },
    /// Creates the next version of an org's key.
    RotateKey {
        actor: String,
        org_id: OrgId,
        /// How long the earlier versions stay valid.
        overlap_seconds: u64,
    },
    /// Registers an agent.
    AddAgent { actor: String, org_id: OrgId, agent: NewAgent },
    /// Adds a lead.
    AddLead {
        actor: String,
        org_id: OrgId,
        /// E.164.
        phone: String,
        name: Option<String>,
        /// Free-form data of the org.
        #[serde(default)]
        metadata: Map<String, Value>,
    },
    /// Changes a lead. An absent field stays unchanged.
    ChangeLead {
        actor: String,
        org_id: OrgId,
        /// E.164.
        phone: String,
        name: Option<String>,
        metadata: Option<Map<String, Value>>,
    },
    /// Lists the agents of an org.
    ListAgents { org_id: OrgId },
    /// Changes an agent. An absent field stays unchanged.
    ConfigureAgent {
        actor: String,
        org_id: OrgId,
        agent_id: AgentId,
        /// Whether it answers the numbers that no agent names.
        is_default: Option<bool>,
        /// What it answers beyond its ids.
        configuration: Option<Map<String, Value>>,
    },
    /// Lists the tools of an org.
    ListTools { org_id: OrgId },
    /// Registers a tool, or replaces the one of the same kind and name.
    SetTool { actor: String, org_id: OrgId, tool: Tool },
    /// Removes a tool.
    RemoveTool { actor: String, org_id: OrgId, kind: ToolKind, name: String },
    /// Shows the secret that signs messages to the org's endpoints.
    ShowToolSecret { actor: String, org_id: OrgId },
    /// Stores an org's API key at Vapi, sealed, or removes it.
    SetVapiKey {
        actor: String,
        org_id: OrgId,
        /// A secret. None removes the stored key.
        key: Option<Secret>,
    },
    /// Sets a retention of an org.
    SetRetention {
        actor: String,
        org_id: OrgId,
        data: RetainedData,
        /// None: without a limit. Events always have one.
        days: Option<i32>,
    },
    /// Sets whether Vapi retains nothing of an org's calls.
    SetZeroRetention { actor: String, org_id: OrgId, is_zero: bool },
    /// Checks the settings of an org's assistants and numbers at Vapi. With `run`, corrects them.
    Connect { actor: String, org_id: OrgId, run: bool },
    /// Reports the depth of the dead-letter queues and the clock difference to the database.
    Inspect {},
    /// Erases a call, or a number with its calls. Without `run` it only counts.
    Erase { actor: String, org_id: OrgId, target: Target, run: bool },
    /// Closes the failure of a tool call whose outcome a person has found out.
    SettleToolCall { actor: String, org_id: OrgId, event_id: String },
    /// Creates a token for the live view of an org's calls.
    MintToken {
        actor: String,
        org_id: OrgId,
        /// At most twelve hours.
        lifetime_seconds: u64,
    },
    /// Creates a link that signs in to the console.
    MintConsoleToken {
        /// Also the name that the audit log records for actions with the link.
        actor: String,
        /// None: an operator's link, which opens the pages of every org.
        org_id: Option<OrgId>,
        /// At most twelve hours.
        lifetime_seconds: u64,
    },
    /// Lists failed operations, the latest first.
    ListFailures {
        selection: Selection,
        /// Include resolved ones.
        resolved: bool,
        limit: i64,
    },
    /// Counts the dead letters that a redrive would take.
    CountRedrive { selection: Selection },
    /// Starts an operation that moves dead letters back to their retry queues.
    StartRedrive {
        actor: String,
        /// The id of the new operation, chosen by the caller. Commands with the same id start one operation.
        id: Uuid,
        selection: Selection,
        /// Messages per second, at most.
        per_second: u32,
        /// Leaves messages that became dead letters later. None: later than now.
        #[serde(default)]
        before: Option<Timestamp>,
    },
    /// Counts the events that a replay would take.
    CountReplay { kind: Replayable, selection: Selection },
    /// Starts an operation that replays events.
    StartReplay {
        actor: String,
        /// As for [`Self::StartRedrive`].
        id: Uuid,
        kind: Replayable,
        selection: Selection,
        /// Events per second, at most.
        per_second: u32,
    },
    /// Continues the operations that no invocation processes. A schedule sends the command every minute.
    ContinueOperations {},
    /// Lists operations, newest first. An absent field selects all.
    ListOperations { id: Option<Uuid>, org_id: Option<OrgId>, limit: i64 },
}

exact_numbers!(Command);
