//! The messages that an assistant must send to its server.

use std::collections::BTreeSet;

use strum::IntoEnumIterator as _;

use crate::events::EventType;
use crate::interactive::{InquiryKind, TOOL_CALLS};

/// An assistant's `serverMessages`: every type that Ringfence stores or answers and to which an assistant can
/// subscribe. Vapi's default also sends the whole conversation with each turn.
#[must_use]
pub fn server_messages() -> BTreeSet<&'static str> {
    let stored = EventType::iter().map(EventType::server_message);
    let answered = InquiryKind::iter().filter_map(InquiryKind::server_message);
    stored.chain(answered).chain([TOOL_CALLS]).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{Message, parse};

    /// The values of `CreateAssistantDTO.serverMessages` in Vapi's `OpenAPI` document.
    const SUBSCRIBABLE: [&str; 27] = [
        "assistant.speechStarted",
        "assistant.started",
        "call.artifact.upload",
        "call.delete.failed",
        "call.deleted",
        "chat.created",
        "chat.deleted",
        "conversation-update",
        "end-of-call-report",
        "function-call",
        "handoff-destination-request",
        "hang",
        "language-change-detected",
        "language-changed",
        "model-output",
        "phone-call-control",
        "session.created",
        "session.deleted",
        "session.updated",
        "speech-update",
        "status-update",
        "tool-calls",
        "transcript[transcriptType=\"final\"]",
        "transfer-destination-request",
        "transfer-update",
        "user-interrupted",
        "voice-input",
    ];

    #[test]
    fn an_assistant_sends_only_stored_or_answered_messages() {
        let is_used = |name: &str| {
            let body = json!({"message": {"type": name, "call": {"id": "c1"}}}).to_string();
            let message = parse(body.as_bytes(), Timestamp::UNIX_EPOCH).unwrap().message;
            matches!(message, Message::Stored(_) | Message::Interactive(_))
        };
        // `tool-calls` replaces `function-call`. An assistant that sent both would call each tool twice.
        let used = SUBSCRIBABLE.into_iter().filter(|name| *name != "function-call" && is_used(name)).collect();
        assert_eq!(server_messages(), used);
    }

    #[test]
    fn the_readme_names_all_of_them() {
        let readme = include_str!("../../../README.md");
        let row = readme.lines().find(|line| line.starts_with("| `serverMessages` |")).unwrap();
        for name in server_messages() {
            assert!(row.contains(&format!("`{name}`")), "{name}");
        }
    }
}
