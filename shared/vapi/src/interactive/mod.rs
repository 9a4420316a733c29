//! Messages to which Vapi needs a response, and the responses (`ServerMessageResponse*`).

mod agent;
mod answer;
mod inquiry;
mod tool_call;
mod tool_result;

pub use agent::{Agent, Configuration, InvalidConfiguration, Lead};
pub use answer::{assistant, nothing_configured, sentence, tool_results, transfer_to};
pub use inquiry::{Inquiry, InquiryKind};
pub use tool_call::ToolCall;
pub use tool_result::ToolResult;

use crate::call_context::CallContext;
use crate::object::Object;

/// The type of `ServerMessageToolCalls`.
pub(crate) const TOOL_CALLS: &str = "tool-calls";

/// A message to which Vapi needs a response body.
#[derive(Clone, Debug, PartialEq)]
pub struct Interactive {
    /// What the message says about its call or chat.
    pub call: CallContext,
    pub question: Question,
}

/// The question of an interactive message.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// `ServerMessageAssistantRequest`: the assistant for a call. Vapi waits 7.5 seconds.
    Assistant,
    /// `ServerMessageToolCalls`: tools to execute.
    ToolCalls(Vec<ToolCall>),
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
            TOOL_CALLS => Question::ToolCalls(ToolCall::read_all(message)),
            "function-call" => Question::FunctionCall(ToolCall::read_function_call(message)),
            name => Question::Inquiry(Inquiry::read(InquiryKind::from_name(name)?, message)),
        };
        // A campaign's contact has no call yet.
        let has_call = !matches!(&question, Question::Inquiry(inquiry) if inquiry.kind == InquiryKind::CampaignPredial);
        let call = CallContext::read(message);
        Some(Self { call: CallContext { id: call.id.filter(|_| has_call), ..call }, question })
    }
}
