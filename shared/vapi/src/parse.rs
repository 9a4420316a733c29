//! From a webhook's bytes to a message.

use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::call::CallFacts;
use crate::events::{EventType, PartialTranscript, StoredEvent, is_final};
use crate::ids::is_token;
use crate::interactive::Interactive;
use crate::message::{BadRequest, Message, Parsed};
use crate::object::{Context, Object};
use crate::sanitise::sanitise;

/// Reads a webhook's body.
///
/// `received_at` bounds the times that are believed; it never becomes part of an event or its key.
///
/// # Errors
///
/// Only if the body is not JSON, has no `message.type`, or is of a stored type without a usable call id. A field that is
/// wrong in any other way counts as absent and is named in [`Parsed::unreadable`].
pub fn parse(body: &[u8], received_at: Timestamp) -> Result<Parsed, BadRequest> {
    let body = sanitise(body);
    let body: &RawValue = serde_json::from_str(&body).map_err(|_| BadRequest::NotJson)?;
    let context = Context::new(received_at);
    let (name, message) = read(&Object::of_body(body, &context))?;
    Ok(Parsed { message_type: label(&name), message, unreadable: context.into_unreadable() })
}

/// The message and its type's name.
fn read(body: &Object<'_>) -> Result<(String, Message), BadRequest> {
    let message = body.object("message");
    let Some(name) = message.text("type") else {
        let hook = simulation_hook(body).ok_or(BadRequest::MessageTypeMissing)?;
        return Ok((hook, Message::Informational));
    };
    let message = read_message(&name, &message)?;
    Ok((name, message))
}

/// Simulations post without the envelope: their type stands at the top.
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
        // It would only have been pushed to the call's viewers, and there is no telling which.
        None if is_partial => Ok(Message::Informational),
        None => Err(BadRequest::CallIdMissing),
    }
}

/// Types that Vapi documents and that are only counted.
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

/// A type's name as logs and metrics may carry it: what a sender may choose freely is not printed.
fn label(name: &str) -> String {
    const MAX: usize = 64;
    match EventType::from_name(name) {
        Some(event_type) => event_type.to_string(),
        None if name.len() <= MAX && is_token(name) => name.to_owned(),
        None => "unknown".to_owned(),
    }
}
