//! `transcript` messages, final and partial.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::EventType;
use super::event_type::FINAL_TRANSCRIPT;
use crate::call::CallFacts;
use crate::conversation;
use crate::fingerprint::Fingerprint;
use crate::object::Object;
use crate::sensitive::Sensitive;

/// A final transcript (`ServerMessageTranscript` with `transcriptType` `final`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinalTranscript {
    /// Always `transcript`.
    pub event_type: EventType,
    /// `timestamp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_time: Option<Timestamp>,
    /// The call.
    pub call: CallFacts,
    /// `role`: `user`, `assistant`, or one that Vapi adds. `unknown` if absent.
    pub role: String,
    /// `transcript`, complete. Empty if nothing was said: the message has no text, or only white space. Such an event
    /// makes no row in `call_transcripts`.
    pub text: Sensitive<String>,
    /// The index of the text in `artifact.messages`. Set only if the message has no time; it then distinguishes a
    /// repeated utterance from a redelivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<i64>,
    /// The hash in the event key: SHA-256 of the role, the time or position, and the text, in hexadecimal.
    pub content_sha256: String,
}

/// A partial transcript, of speech that continues (`ServerMessageTranscript` with `transcriptType` `partial`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartialTranscript {
    /// `timestamp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_time: Option<Timestamp>,
    /// The call.
    pub call: CallFacts,
    /// `role`, as in [`FinalTranscript::role`].
    pub role: String,
    /// `transcript`, the text so far.
    pub text: Sensitive<String>,
}

/// Whether a transcript is final. It is partial only if its `transcriptType` says so: storing a possibly final
/// transcript loses no data.
pub(crate) fn is_final(message: &Object<'_>) -> bool {
    let literal = message.text("type").is_some_and(|name| name == FINAL_TRANSCRIPT);
    literal || message.token("transcriptType").is_none_or(|kind| kind == "final")
}

impl FinalTranscript {
    pub(super) fn read(message: &Object<'_>, call: CallFacts) -> Self {
        let message_time = message.time("timestamp");
        let role = role(message);
        let text = text(message);
        let position = if message_time.is_none() { position(message, &role, &text) } else { None };
        Self {
            event_type: EventType::Transcript,
            content_sha256: content_sha256(message_time, position, &role, &text),
            message_time,
            call,
            role,
            text: text.into(),
            position,
        }
    }
}

impl PartialTranscript {
    pub(crate) fn read(message: &Object<'_>, call: CallFacts) -> Self {
        Self { message_time: message.time("timestamp"), call, role: role(message), text: text(message).into() }
    }
}

fn role(message: &Object<'_>) -> String {
    message.token("role").unwrap_or_else(|| "unknown".to_owned())
}

fn text(message: &Object<'_>) -> String {
    let text = conversation::transcript(message, "transcript").map(Sensitive::into_exposed);
    text.filter(|text| !text.trim().is_empty()).unwrap_or_default()
}

/// Hashes only the text, its speaker and its time or position. The facts about the call are left out, because a
/// redelivery may give them differently.
fn content_sha256(time: Option<Timestamp>, position: Option<i64>, role: &str, text: &str) -> String {
    let mut fingerprint = Fingerprint::new();
    fingerprint.text("role", Some(role)).time("time", time).integer("position", position).text("text", Some(text));
    fingerprint.finish()
}

/// The index of the text in `artifact.messages`, or the index that it will get.
///
/// Vapi sends a final transcript before or after it appends the text to the list. An equal text at an earlier index is
/// an earlier utterance, so only the last message can be this one.
fn position(message: &Object<'_>, role: &str, text: &str) -> Option<i64> {
    let messages = message.object("artifact").objects("artifact.messages")?;
    let is_last = messages.last().is_some_and(|last| says(last, role, text));
    i64::try_from(messages.len() - usize::from(is_last)).ok()
}

/// Whether a message of `artifact.messages` has this text and this speaker. REST bodies use other field names.
fn says(message: &Object<'_>, role: &str, text: &str) -> bool {
    let speaker = message.token("artifact.messages.role").map(conversation::speaker);
    let said = message.text("artifact.messages.message").or_else(|| message.text("artifact.messages.content"));
    speaker.as_deref() == Some(role) && said.as_deref() == Some(text)
}
