//! The messages for whose answer Vapi waits, and their answers (`ServerMessageResponse*`).

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

use crate::call::CallFacts;
use crate::object::Object;

/// The type of `ServerMessageToolCalls`.
pub(crate) const TOOL_CALLS: &str = "tool-calls";

/// A message whose answer's body matters.
#[derive(Clone, Debug, PartialEq)]
pub struct Interactive {
    /// The call that it is about; `None` without a usable call id. A campaign asks before there is a call.
    pub call: Option<CallFacts>,
    /// What Vapi wants to know.
    pub question: Question,
}

/// What Vapi wants to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// `ServerMessageAssistantRequest`: which assistant takes this call? Vapi waits 7.5 seconds.
    Assistant,
    /// `ServerMessageToolCalls`: run these tools.
    ToolCalls(Vec<ToolCall>),
    /// `function-call`, the predecessor of `tool-calls`. It has no id, so it is given one that is the same in each delivery.
    FunctionCall(ToolCall),
    /// One of the questions that an org may answer itself.
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
        // A campaign's contact has not been called.
        let has_call = !matches!(&question, Question::Inquiry(inquiry) if inquiry.kind == InquiryKind::CampaignPredial);
        Some(Self { call: has_call.then(|| CallFacts::read(message)).flatten(), question })
    }
}
