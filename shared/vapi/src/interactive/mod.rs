//! The messages for whose answer Vapi waits.

mod answer;
mod tool_call;

use serde_json::Value;

pub use answer::nothing_configured;
pub use tool_call::ToolCall;

use crate::call::CallFacts;
use crate::object::Object;
use crate::sensitive::Sensitive;

/// A message whose answer's body matters.
#[derive(Clone, Debug, PartialEq)]
pub enum Interactive {
    /// `ServerMessageAssistantRequest`: which assistant takes this call? Vapi waits 7.5 seconds.
    AssistantRequest {
        /// The call that comes in; `None` without a usable call id.
        call: Option<CallFacts>,
    },
    /// `ServerMessageToolCalls`: run these tools.
    ToolCalls(Vec<ToolCall>),
    /// `function-call`, the predecessor of `tool-calls`.
    FunctionCall {
        /// `functionCall.name`.
        name: Option<String>,
        /// `functionCall.parameters`.
        parameters: Sensitive<Value>,
    },
    /// `ServerMessageTransferDestinationRequest`: where to?
    TransferDestination,
    /// `ServerMessageHandoffDestinationRequest`: which assistant takes over?
    HandoffDestination,
    /// `ServerMessageKnowledgeBaseRequest`: which documents help?
    KnowledgeBase,
    /// `ServerMessageCallEndpointingRequest`: has the user finished?
    Endpointing,
    /// `ServerMessageCampaignPredial`: may this contact be dialled?
    CampaignPredial,
}

impl Interactive {
    /// Reads a message whose type is interactive; `None` for other types.
    pub(crate) fn read(name: &str, message: &Object<'_>) -> Option<Self> {
        Some(match name {
            "assistant-request" => Self::AssistantRequest { call: CallFacts::read(message) },
            "tool-calls" => Self::ToolCalls(ToolCall::read_all(message)),
            "function-call" => Self::read_function_call(message),
            "transfer-destination-request" => Self::TransferDestination,
            "handoff-destination-request" => Self::HandoffDestination,
            "knowledge-base-request" => Self::KnowledgeBase,
            "call.endpointing.request" => Self::Endpointing,
            "campaign.predial" => Self::CampaignPredial,
            _ => return None,
        })
    }

    fn read_function_call(message: &Object<'_>) -> Self {
        let call = message.object("functionCall");
        Self::FunctionCall {
            name: call.id("functionCall.name"),
            parameters: tool_call::arguments(call.raw("functionCall.parameters")),
        }
    }
}
