//! The acts of administration, as `cargo ringfence` sends them: the same on a local stack and on a deployed one.

use jiff::Timestamp;
use ringfence_core::admin::replay::{Cursor, Replayable};
use ringfence_core::admin::tools::{Tool, ToolKind};
use ringfence_core::admin::{Kept, NewAgent, Selection};
use ringfence_vapi::OrgId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::erase::Erase;

/// A secret on its way to be sealed. Does not print itself.
pub type Secret = ringfence_vapi::Sensitive<String>;

/// One act. `actor` is who the audit log names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub enum Act {
    /// Bring the schema up to date.
    Migrate,
    /// Run `verify.sql`.
    Verify,
    /// A new org.
    CreateOrganization {
        /// Who acts.
        actor: String,
        /// The org's name.
        name: String,
    },
    /// All orgs.
    ListOrganizations {
        /// Who acts.
        actor: String,
    },
    /// The next version of an org's key.
    RotateKey {
        /// Who acts.
        actor: String,
        /// Whose key.
        org_id: OrgId,
        /// How long the earlier versions count.
        overlap_seconds: u64,
    },
    /// A new agent.
    AddAgent {
        /// Who acts.
        actor: String,
        /// Its org.
        org_id: OrgId,
        /// The agent.
        agent: NewAgent,
    },
    /// A new lead.
    AddLead {
        /// Who acts.
        actor: String,
        /// Its org.
        org_id: OrgId,
        /// E.164.
        phone: String,
        /// The lead's name.
        name: Option<String>,
        /// The org's own.
        #[serde(default)]
        metadata: Map<String, Value>,
    },
    /// Another name or other metadata for a lead.
    ChangeLead {
        /// Who acts.
        actor: String,
        /// Its org.
        org_id: OrgId,
        /// E.164.
        phone: String,
        /// The lead's name; absent: as it is.
        name: Option<String>,
        /// The org's own; absent: as it is.
        metadata: Option<Map<String, Value>>,
    },
    /// The agents of an org.
    ListAgents {
        /// The org.
        org_id: OrgId,
    },
    /// Another configuration for an agent.
    ConfigureAgent {
        /// Who acts.
        actor: String,
        /// Its org.
        org_id: OrgId,
        /// Its id.
        agent_id: Uuid,
        /// Whether it answers the numbers that no agent names; absent: as it is.
        is_default: Option<bool>,
        /// What it answers beyond its ids; absent: as it is.
        configuration: Option<Map<String, Value>>,
    },
    /// The tools of an org.
    ListTools {
        /// The org.
        org_id: OrgId,
    },
    /// A tool, new or in the place of one of the same name.
    SetTool {
        /// Who acts.
        actor: String,
        /// Its org.
        org_id: OrgId,
        /// The tool.
        tool: Tool,
    },
    /// A tool less.
    RemoveTool {
        /// Who acts.
        actor: String,
        /// Its org.
        org_id: OrgId,
        /// What it is.
        kind: ToolKind,
        /// Its name.
        name: String,
    },
    /// The secret that signs messages to an org's endpoints.
    ShowToolSecret {
        /// Who acts.
        actor: String,
        /// The org.
        org_id: OrgId,
    },
    /// An org's API key at Vapi, or none any more.
    SetVapiKey {
        /// Who acts.
        actor: String,
        /// The org.
        org_id: OrgId,
        /// The key: a secret, kept sealed. Absent: none.
        key: Option<Secret>,
    },
    /// How long something of an org is kept.
    SetRetention {
        /// Who acts.
        actor: String,
        /// The org.
        org_id: OrgId,
        /// What.
        kept: Kept,
        /// Days. Absent: for ever, which events cannot be.
        days: Option<i32>,
    },
    /// Whether Vapi keeps nothing of an org's calls.
    SetZeroRetention {
        /// Who acts.
        actor: String,
        /// The org.
        org_id: OrgId,
        /// Whether it does not.
        is_zero: bool,
    },
    /// How an org's assistants and numbers are set up at Vapi, and setting that right.
    Connect {
        /// Who acts.
        actor: String,
        /// The org.
        org_id: OrgId,
        /// False: only look.
        run: bool,
    },
    /// What the deployment looks like from inside: queues and clocks.
    Inspect {},
    /// What is known of a call, or of all calls with a number, and its removal from everywhere.
    Erase {
        /// Who acts.
        actor: String,
        /// The org.
        org_id: OrgId,
        /// What.
        erase: Erase,
        /// False: count only.
        run: bool,
    },
    /// Close the failure of a tool call whose fate people have found out.
    SettleToolCall {
        /// Who acts.
        actor: String,
        /// Its org.
        org_id: OrgId,
        /// The execution's id.
        event_id: String,
    },
    /// A token that watches an org's calls.
    MintToken {
        /// Who acts.
        actor: String,
        /// The org.
        org_id: OrgId,
        /// How long it counts, at most twelve hours.
        lifetime_seconds: u64,
    },
    /// A link that signs in to the console.
    MintConsoleToken {
        /// Who acts, and whom the audit log will name for what is done there.
        actor: String,
        /// The org whose pages it opens; absent: all orgs', for an operator.
        org_id: Option<OrgId>,
        /// How long it counts, at most twelve hours.
        lifetime_seconds: u64,
    },
    /// Failed operations.
    ListFailures {
        /// Which.
        selection: Selection,
        /// Those that were resolved as well.
        resolved: bool,
        /// How many at the most, the latest first.
        limit: i64,
    },
    /// From the dead-letter queues back to the retry queues.
    Redrive {
        /// Who acts.
        actor: String,
        /// What.
        selection: Selection,
        /// False: count only.
        run: bool,
        /// Messages in a second, at most.
        per_second: u32,
        /// Leave what became a dead letter later; absent: later than now. A redrive that goes on names the time of its first act.
        #[serde(default)]
        before: Option<Timestamp>,
    },
    /// How many events a replay would take.
    CountReplay {
        /// Applied or failed ones.
        kind: Replayable,
        /// Which.
        selection: Selection,
    },
    /// A page of a replay.
    Replay {
        /// Who acts.
        actor: String,
        /// Applied or failed ones.
        kind: Replayable,
        /// Which.
        selection: Selection,
        /// Where the page before ended.
        after: Option<Cursor>,
        /// How many events at the most.
        limit: i64,
    },
}
