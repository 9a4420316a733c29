//! The facts about the call of a message that need not have a call.

use jiff::Timestamp;
use serde::Serialize;

use crate::call;
use crate::ids::VapiCallId;
use crate::object::Object;
use crate::sensitive::Sensitive;

/// The facts that name the org and the parties of a message. Each may be absent: a chat has no call, and an
/// `assistant-request` or a campaign's message may arrive before its call exists.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CallContext {
    /// `Call.id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<VapiCallId>,
    /// `Call.createdAt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// `Call.assistantId`, the id of the message's assistant, or `Chat.assistantId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assistant_id: Option<String>,
    /// `Call.squadId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub squad_id: Option<String>,
    /// Vapi's id of the org's phone number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number_id: Option<String>,
    /// The org's phone number, in E.164 if possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub our_number: Option<Sensitive<String>>,
    /// The number of the other party, as in [`CallFacts`](crate::CallFacts).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_number: Option<Sensitive<String>>,
    /// The keyed hashes of `customer_number`, for messages that are stored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub number_tombstones: Vec<String>,
}

impl CallContext {
    pub(crate) fn read(message: &Object<'_>) -> Self {
        let call = message.object("call");
        let chat_assistant = || message.object("chat").id("chat.assistantId");
        Self {
            id: call.parsed("call.id"),
            created_at: call.time("call.createdAt"),
            assistant_id: call::assistant_id(message, &call).or_else(chat_assistant),
            squad_id: call.id("call.squadId"),
            phone_number_id: call::phone_number_id(message, &call),
            our_number: call::our_number(message, &call),
            customer_number: call::customer_number(message, &call),
            number_tombstones: Vec::new(),
        }
    }
}
