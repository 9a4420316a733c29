use ringfence_vapi::{AgentId, exact_numbers};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strum::{Display, EnumString, IntoStaticStr};

/// A Vapi assistant or squad, and the number that it answers or calls from. At least one of the ids is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAgent {
    pub name: String,
    /// `inbound` or `outbound`.
    pub role: String,
    pub assistant_id: Option<String>,
    pub squad_id: Option<String>,
    pub phone_number_id: Option<String>,
    /// E.164.
    pub phone_number: Option<String>,
    /// Whether it answers the numbers that no agent names. It replaces the previous default.
    #[serde(default)]
    pub is_default: bool,
    /// What it answers beyond its ids (`ringfence_vapi::interactive::Configuration`).
    #[serde(default)]
    pub configuration: Map<String, Value>,
}

/// An agent as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct ListedAgent {
    pub id: AgentId,
    #[serde(flatten)]
    pub agent: NewAgent,
}

exact_numbers!(ListedAgent);

/// A new agent, with the results for the unresolved events that name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedAgent {
    pub id: AgentId,
    pub events: Resolved,
}

/// The results of applying unresolved events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    pub applied: u64,
    /// Still unresolved, because applying them failed. The log has the code of each.
    pub failed: u64,
    /// The time was up. The schedule that continues operations applies the rest.
    #[serde(default)]
    pub more: bool,
}

#[derive(Clone, Copy, Debug, Display, EnumString, IntoStaticStr, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum ToolKind {
    /// A function that models call by its name.
    Tool,
    /// The answer to messages of one type.
    Message,
}

/// An endpoint of an org.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    pub kind: ToolKind,
    /// The function's name, or the message's type.
    pub name: String,
    /// An HTTPS URL.
    pub endpoint: String,
    /// 1 to 15.
    pub timeout_seconds: i32,
    /// Whether two requests with the same idempotency key have the effect of one.
    pub is_idempotent: bool,
}
