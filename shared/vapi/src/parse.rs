//! Parses the bytes of a webhook into a message.

use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::call::CallFacts;
use crate::events::{EventType, PartialTranscript, StoredEvent, call_turned_away, is_final};
use crate::ids::is_token;
use crate::interactive::{Conversation, Interactive};
use crate::message::{BadRequest, Drift, Message, Parsed};
use crate::message_types::{VOICE_REQUEST, is_counted};
use crate::object::{Context, Object};
use crate::sanitise::sanitise;
use crate::unknown_message::UnknownMessage;

/// Parses a webhook's body.
///
/// `received_at` limits which times are plausible. It is never part of an event or its key.
///
/// # Errors
///
/// Fails only if the body is not JSON, has no `message.type`, is of a stored type without a valid call id, or has an
/// encrypted message or call. Any other invalid field is treated as absent and listed in [`Parsed::unreadable`].
pub fn parse(body: &[u8], received_at: Timestamp) -> Result<Parsed, BadRequest> {
    let body = sanitise(body);
    let body: &RawValue = serde_json::from_str(&body).map_err(|_| BadRequest::NotJson)?;
    let context = Context::new(received_at);
    let outermost = Object::of_body(body, &context);
    let message = outermost.object("message");
    let (name, parsed) = read(body, &outermost, &message)?;
    let fields = context.take_unknown_fields();
    // All fields of an unknown type are unknown.
    let is_drift = !fields.is_empty() && !matches!(parsed, Message::Unknown(_));
    let drift = is_drift.then(|| Drift { fields, conversation: Conversation::read(&message) });
    Ok(Parsed { message_type: label(&name), message: parsed, unreadable: context.into_unreadable(), drift })
}

/// The message and the name of its type.
fn read(body: &RawValue, outermost: &Object<'_>, message: &Object<'_>) -> Result<(String, Message), BadRequest> {
    let Some(name) = message.text("type") else {
        let hook = simulation_hook(outermost).ok_or(BadRequest::MessageTypeMissing);
        let hook =
            hook.map_err(|error| if is_text(outermost, "message") { BadRequest::EncryptedFields } else { error })?;
        let handled = if is_counted(&hook) {
            Message::Informational
        } else {
            Message::Unknown(UnknownMessage::read(label(&hook), body, message))
        };
        return Ok((hook, handled));
    };
    let message = read_message(body, &name, message)?;
    Ok((name, message))
}

/// Whether a field that should be an object is a text: base64, if the sender encrypts it.
fn is_text(object: &Object<'_>, path: &'static str) -> bool {
    object.raw(path).is_some_and(|raw| raw.get().starts_with('"') && raw.get().len() > 2)
}

/// Simulations send no envelope: their type is at the top level.
fn simulation_hook(body: &Object<'_>) -> Option<String> {
    body.text("type").filter(|name| name.starts_with("simulation."))
}

fn read_message(body: &RawValue, name: &str, message: &Object<'_>) -> Result<Message, BadRequest> {
    if let Some(event_type) = EventType::from_name(name) {
        return read_event(event_type, message);
    }
    if let Some(interactive) = Interactive::read(name, message) {
        return Ok(Message::Interactive(interactive));
    }
    Ok(match name {
        VOICE_REQUEST => Message::NotServed,
        _ if is_counted(name) => Message::Informational,
        _ => Message::Unknown(UnknownMessage::read(label(name), body, message)),
    })
}

fn read_event(event_type: EventType, message: &Object<'_>) -> Result<Message, BadRequest> {
    let is_partial = event_type == EventType::Transcript && !is_final(message);
    match CallFacts::read(message).or_else(|| call_turned_away(event_type, message)) {
        Some(call) if is_partial => Ok(Message::Partial(PartialTranscript::read(message, call))),
        Some(call) => Ok(Message::Stored(StoredEvent::read(event_type, message, call))),
        // A partial transcript is only pushed to viewers of its call, and this one names no call.
        None if is_partial => Ok(Message::Informational),
        None if is_text(message, "call") => Err(BadRequest::EncryptedFields),
        None => Err(BadRequest::CallIdMissing),
    }
}

/// The name of a type for logs and metrics. A text that is not a safe token is replaced, because the sender chooses
/// it.
fn label(name: &str) -> String {
    const MAX: usize = 64;
    match EventType::from_name(name) {
        Some(event_type) => event_type.to_string(),
        None if name.len() <= MAX && is_token(name) => name.to_owned(),
        None => "unknown".to_owned(),
    }
}
