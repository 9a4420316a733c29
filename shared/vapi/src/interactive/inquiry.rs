//! Questions that an org can answer with an endpoint or with its agent's configuration.

use serde_json::{Map, Value, json};
use strum::{EnumIter, EnumString, IntoStaticStr, VariantNames};

use super::Agent;
use crate::conversation;
use crate::json::{self, Limits};
use crate::object::Object;
use crate::sanitise::sanitise;
use crate::sensitive::Sensitive;

/// The range that `customEndpointingRule` allows (`ServerMessageResponseCallEndpointingRequest`).
pub(super) const ENDPOINTING_SECONDS: std::ops::RangeInclusive<f64> = 0.0..=15.0;
/// Limits for the parameters that the model wrote and for a contact's variables.
const SMALL: Limits = Limits { bytes: 16 * 1024, depth: 32 };
/// The most turns and bytes of a conversation, counted from its end. A knowledge base needs no more, and an endpoint
/// has little time.
const MAX_TURNS: usize = 50;
const MAX_CONVERSATION_BYTES: usize = 64 * 1024;

/// A question of Vapi.
#[derive(Clone, Debug, PartialEq)]
pub struct Inquiry {
    pub kind: InquiryKind,
    /// The details that an endpoint receives: the spoken turns of the conversation (`conversation`: `role`, `text`),
    /// the model's `parameters`, and for a campaign `campaign_id` and `contact`. Assistant configuration and
    /// credentials are left out.
    pub details: Sensitive<Map<String, Value>>,
}

/// The kinds of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr, VariantNames)]
#[strum(const_into_str)]
pub enum InquiryKind {
    /// `ServerMessageTransferDestinationRequest`: the destination of a transfer.
    #[strum(serialize = "transfer-destination-request")]
    TransferDestination,
    /// `ServerMessageHandoffDestinationRequest`: the assistant that takes over.
    #[strum(serialize = "handoff-destination-request")]
    HandoffDestination,
    /// `ServerMessageKnowledgeBaseRequest`: the documents that help to answer.
    #[strum(serialize = "knowledge-base-request")]
    KnowledgeBase,
    /// `ServerMessageCallEndpointingRequest`: whether the user has finished speaking.
    #[strum(serialize = "call.endpointing.request")]
    Endpointing,
    /// `ServerMessageCampaignPredial`: whether Vapi may dial the contact.
    #[strum(serialize = "campaign.predial")]
    CampaignPredial,
}

impl InquiryKind {
    /// Vapi's message type.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// The type's name in an assistant's `serverMessages`. `None` if Vapi sends the message to a server that is
    /// configured elsewhere.
    pub(crate) const fn server_message(self) -> Option<&'static str> {
        match self {
            Self::TransferDestination | Self::HandoffDestination => Some(self.into_str()),
            Self::KnowledgeBase | Self::Endpointing | Self::CampaignPredial => None,
        }
    }

    /// The kind that a message type names.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// An endpoint's response, reduced to the fields that Vapi accepts. `None` if Vapi would reject it.
    #[must_use]
    pub fn read_answer(self, body: &[u8]) -> Option<Value> {
        let answer: Map<String, Value> = serde_json::from_str(&sanitise(body)).ok()?;
        let fields: &[&str] = match self {
            Self::TransferDestination => &["destination", "message", "error"],
            Self::HandoffDestination => &["destination", "result", "error"],
            Self::KnowledgeBase => &["documents", "message"],
            Self::Endpointing => &["timeoutSeconds"],
            Self::CampaignPredial => &["eligible"],
        };
        let is_given = |field: &str, value: &Value| fields.contains(&field) && !value.is_null();
        let mut answer: Map<_, _> = answer.into_iter().filter(|(field, value)| is_given(field, value)).collect();
        match self {
            Self::Endpointing => answer.get_mut("timeoutSeconds").into_iter().for_each(read_number),
            Self::KnowledgeBase => {
                let documents = answer.get_mut("documents").and_then(Value::as_array_mut).into_iter().flatten();
                documents.filter_map(|document| document.get_mut("similarity")).for_each(read_number);
            }
            Self::TransferDestination | Self::HandoffDestination | Self::CampaignPredial => {}
        }
        self.is_answer(&answer).then_some(Value::Object(answer))
    }

    /// The answer from an agent's configuration.
    #[must_use]
    pub fn configured_answer(self, agent: &Agent) -> Option<Value> {
        let configuration = &agent.configuration;
        match self {
            Self::TransferDestination => {
                configuration.transfer_destination.as_ref().map(|to| json!({"destination": to}))
            }
            Self::HandoffDestination => configuration.handoff_destination.as_ref().map(|to| json!({"destination": to})),
            Self::Endpointing => configuration.endpointing_seconds.map(|seconds| json!({"timeoutSeconds": seconds})),
            Self::KnowledgeBase | Self::CampaignPredial => None,
        }
    }

    fn is_answer(self, answer: &Map<String, Value>) -> bool {
        let is_text =
            |field: &str| answer.get(field).is_none_or(|value| value.as_str().is_some_and(|text| !text.is_empty()));
        match self {
            Self::TransferDestination => match answer.get("destination") {
                Some(to) => {
                    is_transfer_destination(to) && answer.get("message").is_none_or(is_tool_message) && is_text("error")
                }
                None => answer.contains_key("error") && is_text("error"),
            },
            Self::HandoffDestination => match answer.get("destination") {
                Some(to) => is_handoff_destination(to) && is_text("result") && is_text("error"),
                None => answer.contains_key("error") && is_text("error") && is_text("result"),
            },
            Self::KnowledgeBase => {
                let documents = answer.get("documents").is_none_or(|documents| {
                    documents.as_array().is_some_and(|documents| documents.iter().all(is_document))
                });
                let message = answer
                    .get("message")
                    .is_none_or(|message| message.get("type").and_then(Value::as_str) == Some("custom-message"));
                !answer.is_empty() && documents && message
            }
            Self::Endpointing => {
                let seconds = answer.get("timeoutSeconds").and_then(Value::as_f64);
                seconds.is_some_and(|seconds| ENDPOINTING_SECONDS.contains(&seconds))
            }
            Self::CampaignPredial => answer.get("eligible").is_some_and(Value::is_boolean),
        }
    }
}

impl Inquiry {
    pub(super) fn read(kind: InquiryKind, message: &Object<'_>) -> Self {
        let mut details = Map::new();
        if kind == InquiryKind::CampaignPredial {
            let contact = message.object("contact");
            let variables =
                contact.object("contact.assistantOverrides").map("contact.assistantOverrides.variableValues", SMALL);
            details.insert("campaign_id".to_owned(), json!(message.id("campaignId")));
            details.insert(
                "contact".to_owned(),
                json!({
                    "id": contact.id("contact.id"),
                    "number": contact.phone("contact.number"),
                    "name": contact.short_text("contact.name"),
                    "variables": variables,
                }),
            );
        } else {
            details.insert("conversation".to_owned(), Value::Array(conversation(message)));
            if let Some(parameters) = message.map("parameters", SMALL) {
                details.insert("parameters".to_owned(), Value::Object(parameters));
            }
        }
        Self { kind, details: Sensitive::from(details) }
    }
}

/// The latest spoken turns of the conversation, of the first list that has any.
fn conversation(message: &Object<'_>) -> Vec<Value> {
    let artifact = message.object("artifact");
    let lists = [(message, "messages"), (&artifact, "artifact.messages"), (message, "messagesOpenAIFormatted")];
    let turns = lists.into_iter().map(|(object, path)| spoken(object, path));
    turns.into_iter().find(|turns| !turns.is_empty()).unwrap_or_default()
}

fn spoken(object: &Object<'_>, path: &'static str) -> Vec<Value> {
    let turns = object.objects(path).unwrap_or_default();
    let said = |turn: &Object<'_>| {
        let role = turn.token("messages.role").filter(|role| !conversation::is_prompt(role))?;
        let text = conversation::text(turn)?;
        Some(json!({"role": role, "text": text}))
    };
    let mut bytes = 0;
    let fits = |turn: &Value| {
        bytes += turn["text"].as_str().map_or(0, str::len);
        bytes <= MAX_CONVERSATION_BYTES
    };
    let mut said: Vec<Value> = turns.iter().rev().filter_map(said).take(MAX_TURNS).take_while(fits).collect();
    said.reverse();
    said
}

/// `TransferDestinationNumber`, `-Sip` or `-Assistant`.
pub(super) fn is_transfer_destination(to: &Value) -> bool {
    match to.get("type").and_then(Value::as_str) {
        Some("number") => has_text(to, "number"),
        Some("sip") => has_text(to, "sipUri"),
        Some("assistant") => has_text(to, "assistantName"),
        _ => false,
    }
}

/// `HandoffDestinationAssistant` or `-Squad`.
pub(super) fn is_handoff_destination(to: &Value) -> bool {
    let transient = |field: &str| to.get(field).is_some_and(Value::is_object);
    match to.get("type").and_then(Value::as_str) {
        Some("assistant") => has_text(to, "assistantId") || has_text(to, "assistantName") || transient("assistant"),
        Some("squad") => has_text(to, "squadId") || transient("squad"),
        _ => false,
    }
}

/// Replaces a text that contains a number by the number, because Vapi expects a number.
fn read_number(value: &mut Value) {
    /// Far more than a time or a similarity has.
    const MAX_DIGITS: usize = 40;
    if let Some(number) = value.as_str().and_then(|text| json::exact_number(text.trim(), MAX_DIGITS)) {
        *value = Value::Number(number);
    }
}

/// `KnowledgeBaseResponseDocument`.
fn is_document(document: &Value) -> bool {
    document.get("content").is_some_and(Value::is_string) && document.get("similarity").is_some_and(Value::is_number)
}

/// `ToolMessageStart`, `-Complete`, `-Failed` or `-Delayed`.
fn is_tool_message(message: &Value) -> bool {
    const TYPES: [&str; 4] = ["request-start", "request-complete", "request-failed", "request-response-delayed"];
    message.get("type").and_then(Value::as_str).is_some_and(|name| TYPES.contains(&name))
}

fn has_text(value: &Value, field: &str) -> bool {
    value.get(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{Interactive, Message, interactive::Question, parse};

    fn details(message: &Value) -> Value {
        let body = json!({ "message": message }).to_string();
        match parse(body.as_bytes(), Timestamp::UNIX_EPOCH).unwrap().message {
            Message::Interactive(Interactive { question: Question::Inquiry(inquiry), .. }) => {
                Value::Object(inquiry.details.into_exposed())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_endpoint_receives_the_conversation_without_the_prompt() {
        let messages = json!([{"role": "system", "message": "secret prompt"}, {"role": "bot", "message": "Hello"},
            {"role": "user", "content": "My heater leaks"}, {"role": "user"}, 7]);
        let expected = json!([{"role": "bot", "text": "Hello"}, {"role": "user", "text": "My heater leaks"}]);
        for message in [
            json!({"type": "knowledge-base-request", "messages": messages}),
            json!({"type": "transfer-destination-request", "artifact": {"messages": messages}}),
            json!({"type": "call.endpointing.request", "messagesOpenAIFormatted": messages}),
        ] {
            assert_eq!(details(&message)["conversation"], expected, "{message}");
        }
        // An empty list, or one of prompts only, does not hide the next.
        for empty in [json!([]), json!([{"role": "system", "message": "secret prompt"}])] {
            let message = json!({"type": "knowledge-base-request", "messages": empty, "artifact": {"messages": []},
                "messagesOpenAIFormatted": messages});
            assert_eq!(details(&message)["conversation"], expected, "{message}");
        }
        let parameters = json!({"type": "handoff-destination-request", "parameters": {"intent": "billing"}});
        assert_eq!(details(&parameters)["parameters"], json!({"intent": "billing"}));
    }

    #[test]
    fn a_campaign_tells_whom_it_would_call() {
        let message = json!({"type": "campaign.predial", "campaignId": "c1", "contact": {"id": "k1", "number": "+15555550189",
            "name": "Dana", "assistantOverrides": {"variableValues": {"first_name": "Dana"}, "server": {"secret": "x"}}}});
        let expected = json!({"campaign_id": "c1", "contact": {"id": "k1", "number": "+15555550189", "name": "Dana",
            "variables": {"first_name": "Dana"}}});
        assert_eq!(details(&message), expected);
    }

    #[test]
    fn an_answer_is_vapis_or_none() {
        use InquiryKind::{CampaignPredial, Endpointing, HandoffDestination, KnowledgeBase, TransferDestination};
        for (kind, answer, fits) in [
            (TransferDestination, json!({"destination": {"type": "number", "number": "+15555550155"}}), true),
            (
                TransferDestination,
                json!({"destination": {"type": "sip", "sipUri": "sip:a@b"}, "message": {"type": "request-start"}}),
                true,
            ),
            (TransferDestination, json!({"error": "Nobody is available."}), true),
            (TransferDestination, json!({"destination": {"type": "number"}}), false),
            (TransferDestination, json!({"error": ""}), false),
            (TransferDestination, json!({}), false),
            (
                HandoffDestination,
                json!({"destination": {"type": "assistant", "assistantId": "a"}, "result": "ok"}),
                true,
            ),
            (HandoffDestination, json!({"error": "No team is available."}), true),
            (HandoffDestination, json!({"destination": {"type": "squad"}}), false),
            (KnowledgeBase, json!({"documents": [{"content": "We open at 9.", "similarity": 0.9}]}), true),
            (KnowledgeBase, json!({"documents": []}), true),
            (KnowledgeBase, json!({"message": {"type": "custom-message", "content": "At nine."}}), true),
            (KnowledgeBase, json!({"documents": [{"content": 5, "similarity": 0.9}]}), false),
            (KnowledgeBase, json!({}), false),
            (Endpointing, json!({"timeoutSeconds": 0.4}), true),
            (Endpointing, json!({"timeoutSeconds": 16}), false),
            (CampaignPredial, json!({"eligible": true}), true),
            (
                TransferDestination,
                json!({"destination": {"type": "number", "number": "+15555550155"}, "message": null, "error": null}),
                true,
            ),
            (CampaignPredial, json!({"eligible": "yes"}), false),
        ] {
            assert_eq!(kind.read_answer(answer.to_string().as_bytes()).is_some(), fits, "{answer}");
        }
        assert_eq!(CampaignPredial.read_answer(b"<html>"), None);
        // E6: a number written as text.
        let timeout = Endpointing.read_answer(br#"{"timeoutSeconds":"0.4"}"#);
        assert_eq!(timeout, Some(json!({"timeoutSeconds": 0.4})));
        let documents = KnowledgeBase.read_answer(br#"{"documents":[{"content":"x","similarity":" 0.9 "}]}"#);
        assert_eq!(documents, Some(json!({"documents": [{"content": "x", "similarity": 0.9}]})));
        assert_eq!(CampaignPredial.read_answer(br#"{"eligible":true,"extra":1}"#), Some(json!({"eligible": true})));
    }
}
