//! Messages to which Vapi needs a response, and the responses (`ServerMessageResponse*`).

mod agent;
mod answer;
mod conversation;
mod inquiry;
mod tool_call;
mod tool_result;

pub use agent::{Agent, Configuration, InvalidConfiguration, Lead};
pub use answer::{assistant, nothing_configured, sentence, tool_results, transfer_to};
pub use conversation::Conversation;
pub use inquiry::{Inquiry, InquiryKind};
pub use tool_call::{ToolCall, ToolCalls};
pub use tool_result::ToolResult;

use jiff::Timestamp;

use crate::object::Object;

/// The type of `ServerMessageToolCalls`.
pub(crate) const TOOL_CALLS: &str = "tool-calls";

/// A message to which Vapi needs a response body.
#[derive(Clone, Debug, PartialEq)]
pub struct Interactive {
    /// The conversation of the message. Empty for a campaign's message, which arrives before its call exists.
    pub conversation: Conversation,
    /// `timestamp`.
    pub message_time: Option<Timestamp>,
    pub question: Question,
}

/// The question of an interactive message.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// `ServerMessageAssistantRequest`: the assistant for a call. Vapi waits 7.5 seconds.
    Assistant,
    /// `ServerMessageToolCalls`: tools to execute.
    ToolCalls(ToolCalls),
    /// `function-call`, the predecessor of `tool-calls`. It has no id, so it gets one that is the same in each
    /// delivery.
    FunctionCall(ToolCall),
    /// A question that an org can answer itself.
    Inquiry(Inquiry),
}

impl Interactive {
    /// Reads a message whose type is interactive; `None` for other types.
    pub(crate) fn read(name: &str, message: &Object<'_>) -> Option<Self> {
        let question = match name {
            "assistant-request" => Question::Assistant,
            TOOL_CALLS => Question::ToolCalls(ToolCalls::read(message)),
            "function-call" => Question::FunctionCall(ToolCall::read_function_call(message)),
            name => Question::Inquiry(Inquiry::read(InquiryKind::from_name(name)?, message)),
        };
        let conversation = match &question {
            Question::Inquiry(inquiry) if inquiry.kind == InquiryKind::CampaignPredial => Conversation::default(),
            _ => Conversation::read(message),
        };
        Some(Self { conversation, message_time: message.time("timestamp"), question })
    }

    /// The identity of the execution of one of the message's tool calls: `tool-calls:{conversation}:{id}:{hash}`. `None`
    /// if the call has no name or no readable arguments, so that it cannot be executed.
    #[must_use]
    pub fn execution_id(&self, call: &ToolCall) -> Option<String> {
        call.execution_id(&self.conversation, self.message_time)
    }
}
