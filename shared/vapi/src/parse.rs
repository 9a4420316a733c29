//! Parses the bytes of a webhook into a message.

use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::call::CallFacts;
use crate::events::{EventType, PartialTranscript, StoredEvent, is_final};
use crate::ids::is_token;
use crate::interactive::Interactive;
use crate::message::{BadRequest, Message, Parsed};
use crate::object::{Context, Object};
use crate::sanitise::sanitise;

/// Parses a webhook's body.
///
/// `received_at` limits which times are plausible. It is never part of an event or its key.
///
/// # Errors
///
/// Fails only if the body is not JSON, has no `message.type`, or is of a stored type without a valid call id. Any
/// other invalid field is treated as absent and listed in [`Parsed::unreadable`].
pub fn parse(body: &[u8], received_at: Timestamp) -> Result<Parsed, BadRequest> {
    let body = sanitise(body);
    let body: &RawValue = serde_json::from_str(&body).map_err(|_| BadRequest::NotJson)?;
    let context = Context::new(received_at);
    let (name, message) = read(&Object::of_body(body, &context))?;
    Ok(Parsed { message_type: label(&name), message, unreadable: context.into_unreadable() })
}

/// The message and the name of its type.
fn read(body: &Object<'_>) -> Result<(String, Message), BadRequest> {
    let message = body.object("message");
    let Some(name) = message.text("type") else {
        let hook = simulation_hook(body).ok_or(BadRequest::MessageTypeMissing)?;
        return Ok((hook, Message::Informational));
    };
    let message = read_message(&name, &message)?;
    Ok((name, message))
}

/// Simulations send no envelope: their type is at the top level.
fn simulation_hook(body: &Object<'_>) -> Option<String> {
    body.text("type").filter(|name| name.starts_with("simulation."))
}

fn read_message(name: &str, message: &Object<'_>) -> Result<Message, BadRequest> {
    if let Some(event_type) = EventType::from_name(name) {
        return read_event(event_type, message);
    }
    if let Some(interactive) = Interactive::read(name, message) {
        return Ok(Message::Interactive(interactive));
    }
    Ok(match name {
        "voice-request" => Message::NotServed,
        _ if is_informational(name) => Message::Informational,
        _ => Message::Unknown,
    })
}

fn read_event(event_type: EventType, message: &Object<'_>) -> Result<Message, BadRequest> {
    let is_partial = event_type == EventType::Transcript && !is_final(message);
    match CallFacts::read(message) {
        Some(call) if is_partial => Ok(Message::Partial(PartialTranscript::read(message, call))),
        Some(call) => Ok(Message::Stored(StoredEvent::read(event_type, message, call))),
        // A partial transcript is only pushed to viewers of its call, and this one names no call.
        None if is_partial => Ok(Message::Informational),
        None => Err(BadRequest::CallIdMissing),
    }
}

/// Types that Vapi documents and that Ringfence only counts.
fn is_informational(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        "assistant.speechStarted",
        "conversation-update",
        "language-changed",
        "model-output",
        "phone-call-control",
        "speech-update",
        "voice-input",
    ];
    const FAMILIES: [&str; 4] = ["campaign.", "chat.", "contact.", "session."];
    NAMES.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
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
