//! Conversations, as lists of messages (`artifact.messages` and others) and as text.

use crate::object::{Item, Object};
use crate::sensitive::Sensitive;

/// Whether a role is that of a prompt, which is configuration and not part of the conversation.
pub(crate) fn is_prompt(role: &str) -> bool {
    matches!(role, "system" | "developer")
}

/// The speaker of a message with this role. Vapi's `transcript` messages say `assistant` where its lists say `bot`.
pub(crate) fn speaker(role: String) -> String {
    if role == "bot" { "assistant".to_owned() } else { role }
}

/// The text of a message of a list. The formats have different names for it, and `content` may be a list of parts.
pub(crate) fn text(message: &Object<'_>) -> Option<String> {
    let text = message.text("messages.message");
    text.or_else(|| if message.is_list("messages.content") { None } else { message.text("messages.content") })
        .or_else(|| joined(message, "messages.content", " "))
}

/// A conversation as text. A list of texts or of messages is joined in Vapi's own format: a line per turn, which starts
/// with `AI: ` or `User: `.
pub(crate) fn transcript(object: &Object<'_>, path: &'static str) -> Option<Sensitive<String>> {
    let text = if object.is_list(path) { joined(object, path, "\n") } else { object.text(path) };
    text.map(Sensitive::from)
}

/// The texts of a list. `None` if there is none.
fn joined(object: &Object<'_>, path: &'static str, separator: &str) -> Option<String> {
    if !object.is_list(path) {
        return None;
    }
    let lines = object.mixed(path).into_iter().filter_map(|item| match item {
        Item::Text(line) => Some(line),
        Item::Object(message) => line(&message),
    });
    let lines: Vec<String> = lines.filter(|line| !line.trim().is_empty()).collect();
    (!lines.is_empty()).then(|| lines.join(separator))
}

fn line(message: &Object<'_>) -> Option<String> {
    let role = message.token("messages.role");
    if role.as_deref().is_some_and(is_prompt) {
        return None;
    }
    let names = ["messages.message", "messages.content", "messages.text", "messages.transcript"];
    let text = names.into_iter().find_map(|name| message.text(name))?;
    Some(match role.as_deref() {
        Some("bot" | "assistant") => format!("AI: {text}"),
        Some("user") => format!("User: {text}"),
        Some(role) => format!("{role}: {text}"),
        None => text,
    })
}
