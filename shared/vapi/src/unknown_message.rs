//! Messages of types that this version does not know.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::value::{RawValue, to_raw_value};

use crate::interactive::Conversation;
use crate::object::Object;
use crate::sensitive::Sensitive;

/// A message of a type that this version does not know. It is stored sealed, so that a later version can apply it.
#[derive(Clone, Debug, PartialEq)]
pub struct UnknownMessage {
    /// The type as in [`Parsed`](crate::Parsed): a safe token, or `unknown`.
    pub message_type: String,
    /// `timestamp`.
    pub message_time: Option<Timestamp>,
    pub conversation: Conversation,
    /// The body as JSON, without the configuration of assistants and phone numbers, which holds credentials.
    pub body: Sensitive<String>,
}

impl UnknownMessage {
    /// `message` is the object in `body` that has the type.
    pub(crate) fn read(message_type: String, body: &RawValue, message: &Object<'_>) -> Self {
        let body = reduce(body).map_or_else(|| body.get().to_owned(), |reduced| reduced.get().to_owned());
        Self {
            message_type,
            message_time: message.time("timestamp"),
            conversation: Conversation::read(message),
            body: Sensitive::from(body),
        }
    }
}

/// Objects of a message or of its call that hold configuration, and their fields that are kept.
const CONFIGURATION: [(&str, &[&str]); 6] = [
    ("assistant", &["id", "name"]),
    ("assistantOverrides", &["metadata"]),
    ("monitor", &[]),
    ("phoneNumber", &["id", "number", "sipUri"]),
    ("squad", &["id", "name"]),
    ("workflow", &["id", "name"]),
];

type Fields<'a> = BTreeMap<String, Cow<'a, RawValue>>;

/// The body with reduced configuration. `None`: it is not an object.
fn reduce(body: &RawValue) -> Option<Box<RawValue>> {
    let mut fields = fields(body)?;
    if let Some(message) = fields.get("message").and_then(|message| reduce_message(message)) {
        fields.insert("message".to_owned(), Cow::Owned(message));
    }
    to_raw_value(&fields).ok()
}

fn reduce_message(message: &RawValue) -> Option<Box<RawValue>> {
    let mut message = without_configuration(message)?;
    if let Some(call) = message.get("call").and_then(|call| to_raw_value(&without_configuration(call)?).ok()) {
        message.insert("call".to_owned(), Cow::Owned(call));
    }
    to_raw_value(&message).ok()
}

fn without_configuration(object: &RawValue) -> Option<Fields<'_>> {
    let mut fields = fields(object)?;
    for (name, kept) in CONFIGURATION {
        let Some(reduced) = fields.get(name).and_then(|raw| keep(raw, kept)) else { continue };
        fields.insert(name.to_owned(), Cow::Owned(reduced));
    }
    Some(fields)
}

fn keep(object: &RawValue, kept: &[&str]) -> Option<Box<RawValue>> {
    let mut fields = fields(object)?;
    fields.retain(|name, _| kept.contains(&name.as_str()));
    to_raw_value(&fields).ok()
}

fn fields(object: &RawValue) -> Option<Fields<'_>> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(object.get()).ok()?;
    Some(fields.into_iter().map(|(name, raw)| (name, Cow::Borrowed(raw))).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// E5: the copy that is sealed has what a later version may read, and no credentials.
    #[test]
    fn configuration_is_reduced_and_everything_else_stays() {
        let message = json!({
            "type": "something.new", "newField": {"deep": [1, {"assistant": {"x": 1}}]},
            "assistant": {"id": "a", "name": "Desk", "server": {"secret": "s"}},
            "phoneNumber": {"id": "p", "number": "+15555550100", "twilioAuthToken": "t"},
            "call": {"id": "c", "monitor": {"controlUrl": "u"}, "assistant": {"model": {}}, "squad": "text",
                "assistantOverrides": {"metadata": {"k": 1}, "server": {}}},
        });
        let body = json!({"message": message, "other": 1}).to_string();
        let reduced = reduce(serde_json::from_str(&body).unwrap()).unwrap();
        let expected = json!({"message": {
            "type": "something.new", "newField": {"deep": [1, {"assistant": {"x": 1}}]},
            "assistant": {"id": "a", "name": "Desk"}, "phoneNumber": {"id": "p", "number": "+15555550100"},
            "call": {"id": "c", "monitor": {}, "assistant": {}, "squad": "text",
                "assistantOverrides": {"metadata": {"k": 1}}},
        }, "other": 1});
        assert_eq!(serde_json::from_str::<Value>(reduced.get()).unwrap(), expected);
    }
}
