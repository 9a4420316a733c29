//! The conversation of an interactive message: a call, a chat or a session.

use jiff::Timestamp;
use serde::Serialize;

use crate::call;
use crate::ids::VapiCallId;
use crate::object::Object;
use crate::sensitive::Sensitive;

/// The ids of a conversation, and the facts that identify its org, agent and lead.
///
/// A message of a text chat has a chat, and no call. Each field is `None` if the message does not have it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Conversation {
    /// `Call.id`. The other names in JSON are those of [`CallFacts`](crate::CallFacts), too.
    #[serde(rename = "id", skip_serializing_if = "Option::is_none")]
    pub call_id: Option<VapiCallId>,
    /// `Chat.id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_id: Option<String>,
    /// `Session.id`, or `Chat.sessionId`. A session has several chats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// `Call.createdAt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assistant_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub squad_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub our_number: Option<Sensitive<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_number: Option<Sensitive<String>>,
    /// The keyed hashes of `customer_number`, for messages that are stored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub number_tombstones: Vec<String>,
}

impl Conversation {
    pub(crate) fn read(message: &Object<'_>) -> Self {
        let [call, chat, session] = ["call", "chat", "session"].map(|path| message.object(path));
        Self {
            call_id: call.parsed("call.id"),
            chat_id: chat.token("chat.id"),
            session_id: session.token("session.id").or_else(|| chat.token("chat.sessionId")),
            created_at: call.time("call.createdAt"),
            assistant_id: call::assistant_id(message, &call)
                .or_else(|| chat.id("chat.assistantId"))
                .or_else(|| session.id("session.assistantId")),
            squad_id: call
                .id("call.squadId")
                .or_else(|| chat.id("chat.squadId"))
                .or_else(|| session.id("session.squadId")),
            phone_number_id: call::phone_number_id(message, &call).or_else(|| session.id("session.phoneNumberId")),
            our_number: call::our_number(message, &call),
            customer_number: call::customer_number(message, &call)
                .or_else(|| session.object("session.customer").phone("session.customer.number")),
            number_tombstones: Vec::new(),
        }
    }

    /// The id that distinguishes the conversation from others, with its kind: that of the call, else of the chat, else
    /// of the session. `None` if the message has none of them.
    pub(super) fn id(&self) -> Option<(&'static str, &str)> {
        let call = self.call_id.as_ref().map(|id| ("call", id.as_str()));
        call.or_else(|| self.chat_id.as_deref().map(|id| ("chat", id)))
            .or_else(|| self.session_id.as_deref().map(|id| ("session", id)))
    }
}
