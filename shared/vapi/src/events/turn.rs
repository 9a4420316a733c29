//! The conversation in a report, turn by turn.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::conversation::{is_prompt, speaker, text};
use crate::object::{Object, cut};
use crate::sensitive::Sensitive;

/// The most turns that are kept. A call of an hour has about 900.
const MAX_TURNS: usize = 2_000;
/// The most tool calls of a turn that are kept.
const MAX_TOOL_CALLS: usize = 32;
/// The longest text, arguments or result, in characters. The rest is cut off.
const MAX_TEXT: usize = 16_000;

/// A message of `artifact.messages`. Prompts are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The index in the list.
    pub position: i64,
    /// `role`: `user`, `assistant` (Vapi's `bot`), `tool_calls`, `tool_call_result`, or one that Vapi adds.
    pub role: String,
    /// `time`: when the turn began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_at: Option<Timestamp>,
    /// `message`, or the `result` of a tool call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Sensitive<String>>,
    /// `toolCalls`, or the tool call that a result belongs to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<TurnToolCall>,
}

/// A tool call of a [`Turn`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnToolCall {
    /// `id`, or `toolCallId` of a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name of the tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The arguments as the model wrote them: text, usually of a JSON object. Absent from a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Sensitive<String>>,
}

impl Turn {
    /// Reads the first list of a report that has turns: Vapi's own format before that of `OpenAI`, which has no times,
    /// and the call's snapshot last.
    pub(super) fn read_all(message: &Object<'_>, artifact: &Object<'_>, call: &Object<'_>) -> Vec<Self> {
        let lists = [
            (artifact, "artifact.messages"),
            (message, "messages"),
            (artifact, "artifact.messagesOpenAIFormatted"),
            (message, "messagesOpenAIFormatted"),
            (call, "call.messages"),
        ];
        let turns = lists.into_iter().map(|(object, path)| Self::read_list(object, path));
        turns.into_iter().find(|turns| !turns.is_empty()).unwrap_or_default()
    }

    fn read_list(object: &Object<'_>, path: &'static str) -> Vec<Self> {
        let messages = object.objects(path).unwrap_or_default();
        let turns = (0..).zip(&messages).filter_map(|(position, message)| Self::read(position, message));
        turns.take(MAX_TURNS).collect()
    }

    /// `None` for a prompt, and for a message that has neither words nor tool calls.
    fn read(position: i64, message: &Object<'_>) -> Option<Self> {
        let role = role(message)?;
        let is_result = role == "tool_call_result";
        let text = text(message).map(|text| cut(text, MAX_TEXT));
        let text = if is_result { text.or_else(|| written(message, "messages.result")) } else { text };
        let text = text.filter(|text| !text.trim().is_empty());
        let tool_calls =
            if is_result { vec![TurnToolCall::of_result(message)] } else { TurnToolCall::read_all(message) };
        if text.is_none() && (is_result || tool_calls.is_empty()) {
            return None;
        }
        Some(Self {
            position,
            role,
            said_at: message.time("messages.time"),
            text: text.map(Sensitive::from),
            tool_calls,
        })
    }
}

/// The role in Vapi's own format. `None` for prompts.
fn role(message: &Object<'_>) -> Option<String> {
    let role = message.token("messages.role").unwrap_or_else(|| "unknown".to_owned());
    match role.as_str() {
        prompt if is_prompt(prompt) => None,
        "tool" | "function" => Some("tool_call_result".to_owned()),
        _ => Some(speaker(role)),
    }
}

impl TurnToolCall {
    fn read_all(message: &Object<'_>) -> Vec<Self> {
        let calls = message.objects("messages.toolCalls").or_else(|| message.objects("messages.tool_calls"));
        let calls = calls.unwrap_or_default();
        let calls = calls.iter().take(MAX_TOOL_CALLS).map(Self::read);
        calls.filter(|call| call.name.is_some() || call.arguments.is_some()).collect()
    }

    fn read(call: &Object<'_>) -> Self {
        let function = call.object("toolCalls.function");
        let arguments = written(&function, "toolCalls.function.arguments");
        Self {
            id: call.short_text("toolCalls.id"),
            name: function.id("toolCalls.function.name").or_else(|| call.id("toolCalls.name")),
            arguments: arguments
                .or_else(|| written(call, "toolCalls.arguments"))
                .or_else(|| written(call, "toolCalls.parameters"))
                .map(Sensitive::from),
        }
    }

    fn of_result(message: &Object<'_>) -> Self {
        let id = message.short_text("messages.toolCallId");
        Self {
            id: id.or_else(|| message.short_text("messages.tool_call_id")),
            name: message.id("messages.name"),
            arguments: None,
        }
    }
}

/// A field as text: the text itself, or the JSON of any other value.
fn written(object: &Object<'_>, path: &'static str) -> Option<String> {
    let json = || object.raw(path).map(|raw| raw.get().to_owned());
    let text = if object.is_text(path) { object.text(path) } else { json() };
    text.map(|text| cut(text, MAX_TEXT))
}
