//! Agents, which answer calls, and leads, which are known callers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::inquiry;
use crate::ids::{AgentId, LeadId};
use crate::sensitive::Sensitive;

/// The data of an agent that is needed to answer Vapi.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Agent {
    pub id: AgentId,
    /// Vapi's id of the assistant.
    pub assistant_id: Option<String>,
    /// Vapi's id of the squad.
    pub squad_id: Option<String>,
    /// Further data for the answers.
    #[serde(deserialize_with = "Configuration::tolerant")]
    pub configuration: Configuration,
}

/// The data for an agent's answers in addition to its ids: `agents.configuration`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Configuration {
    /// `assistantOverrides.variableValues`, for `{{name}}` in prompts. The caller's lead is added as `lead`.
    pub variables: Map<String, Value>,
    /// A transient assistant (`CreateAssistantDTO`), for an agent that has no id at Vapi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assistant: Option<Map<String, Value>>,
    /// The destination of transfers: `TransferDestinationNumber`, `-Sip` or `-Assistant`. Calls to an agent without an
    /// assistant are forwarded to a number or SIP URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer_destination: Option<Value>,
    /// The destination of handoffs: `HandoffDestinationAssistant` or `-Squad`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handoff_destination: Option<Value>,
    /// The length of the silence after which the user has finished, 0 to 15 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpointing_seconds: Option<f64>,
}

/// A configuration that Vapi would reject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfiguration {
    /// Not JSON, or a value has a wrong type.
    #[error("the configuration is not a JSON object with fields of the right types: {0}")]
    Unreadable(String),
    /// An unknown field.
    #[error("the configuration has an unknown field: {0}")]
    UnknownField(String),
    /// A destination lacks a field that its type needs.
    #[error("{0} is not a destination that Vapi knows: it needs a type, and that type's own fields")]
    Destination(&'static str),
    /// `endpointing_seconds` is out of range.
    #[error("endpointing_seconds must be from 0 to 15")]
    Endpointing,
    /// Too large.
    #[error("the configuration is larger than 64 KiB")]
    TooLarge,
}

impl Configuration {
    /// Parses a configuration that a person wrote. A value that would be ignored or refused later is an error.
    pub fn from_json(text: &str) -> Result<Self, InvalidConfiguration> {
        const FIELDS: [&str; 5] =
            ["variables", "assistant", "transfer_destination", "handoff_destination", "endpointing_seconds"];
        const MAX_BYTES: usize = 64 * 1024;
        if text.len() > MAX_BYTES {
            return Err(InvalidConfiguration::TooLarge);
        }
        let unreadable = |error: serde_json::Error| InvalidConfiguration::Unreadable(error.to_string());
        let fields: Map<String, Value> = serde_json::from_str(text).map_err(unreadable)?;
        if let Some(unknown) = fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
            return Err(InvalidConfiguration::UnknownField(unknown.clone()));
        }
        let configuration: Self = serde_json::from_value(Value::Object(fields)).map_err(unreadable)?;
        if configuration.transfer_destination.as_ref().is_some_and(|to| !inquiry::is_transfer_destination(to)) {
            return Err(InvalidConfiguration::Destination("transfer_destination"));
        }
        if configuration.handoff_destination.as_ref().is_some_and(|to| !inquiry::is_handoff_destination(to)) {
            return Err(InvalidConfiguration::Destination("handoff_destination"));
        }
        if configuration.endpointing_seconds.is_some_and(|seconds| !inquiry::ENDPOINTING_SECONDS.contains(&seconds)) {
            return Err(InvalidConfiguration::Endpointing);
        }
        Ok(configuration)
    }

    /// Deserializes a stored configuration. One that another release wrote and this one cannot read becomes the
    /// default, so that the caller still gets an answer.
    fn tolerant<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let kept = Value::deserialize(deserializer)?;
        Ok(serde_json::from_value(kept).unwrap_or_default())
    }
}

/// A person whom the org knows by phone number.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Lead {
    pub id: LeadId,
    /// The lead's name.
    pub name: Option<Sensitive<String>>,
    /// E.164.
    pub phone: Sensitive<String>,
    /// `new`, `contacted`, or a status that the org defines.
    pub status: String,
    /// Free-form data of the org.
    pub metadata: Sensitive<Map<String, Value>>,
}

impl Lead {
    /// The lead as a variable for prompts: `{{lead.name}}`.
    pub(super) fn variable(&self) -> Value {
        let Self { id, name, phone, status, metadata } = self;
        json!({"id": id, "name": name, "phone": phone, "status": status, "metadata": metadata})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_checked_when_it_is_written() {
        for (text, refused) in [
            ("{}", ""),
            (r#"{"variables":{"shop":"Acme"},"endpointing_seconds":0.4}"#, ""),
            (r#"{"transfer_destination":{"type":"number","number":"+15555550155"}}"#, ""),
            (r#"{"handoff_destination":{"type":"assistant","assistantName":"Billing"}}"#, ""),
            ("[]", "JSON object"),
            (r#"{"variables":[]}"#, "right types"),
            (r#"{"variabels":{}}"#, "variabels"),
            (r#"{"transfer_destination":{"type":"number"}}"#, "transfer_destination"),
            (r#"{"handoff_destination":{"type":"number","number":"+15555550155"}}"#, "handoff_destination"),
            (r#"{"endpointing_seconds":16}"#, "15"),
        ] {
            let error = Configuration::from_json(text).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(error.is_empty(), refused.is_empty(), "{text}: {error}");
            assert!(error.contains(refused), "{text}: {error}");
        }
        assert_eq!(Configuration::from_json(&" ".repeat(70_000)), Err(InvalidConfiguration::TooLarge));
    }

    #[test]
    fn an_unreadable_configuration_leaves_the_agent_readable() {
        let kept = json!({"id": uuid::Uuid::nil(), "assistant_id": "a1", "squad_id": null,
            "configuration": {"variables": 7, "later": true}});
        let agent: Agent = serde_json::from_value(kept).unwrap();
        assert_eq!((agent.assistant_id.as_deref(), agent.configuration), (Some("a1"), Configuration::default()));
    }
}
