//! The result of a tool call, as Vapi expects it (`ToolCallResult`).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::ToolCall;
use crate::sanitise::sanitise;
use crate::sensitive::Sensitive;

/// A result or an error, with an optional message to speak and optional metadata.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolResult {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<Sensitive<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Sensitive<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<Sensitive<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<Sensitive<Value>>,
}

impl ToolResult {
    /// An error with a text for the model.
    #[must_use]
    pub fn error(text: &str) -> Self {
        Self { error: Some(Sensitive::from(text.to_owned())), ..Self::default() }
    }

    /// Reads an endpoint's response: an object with `result` or `error`, each a text or any JSON, and with `message`
    /// and `metadata` in Vapi's format. An empty body or object means success without a result. `None` if the body is
    /// anything else.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let body = sanitise(body);
        let body = if body.trim().is_empty() { "{}" } else { &body };
        let mut answer: Map<String, Value> = serde_json::from_str(body).ok()?;
        // An object with only unknown fields is not a tool result.
        let is_known = |field: &String| ["result", "error", "message", "metadata"].contains(&field.as_str());
        if !answer.contains_key("result") && !answer.contains_key("error") && !answer.keys().all(is_known) {
            return None;
        }
        let error = answer.remove("error").filter(|error| *error != Value::Bool(false)).and_then(|error| line(&error));
        let result = answer.remove("result").and_then(|result| line(&result));
        Some(Self {
            // Vapi treats an empty result as a missing one.
            result: error.is_none().then(|| Sensitive::from(result.unwrap_or_else(|| "Done.".to_owned()))),
            error: error.map(Sensitive::from),
            message: answer.remove("message").filter(is_spoken).map(Sensitive::from),
            metadata: answer.remove("metadata").filter(Value::is_object).map(Sensitive::from),
        })
    }

    /// The text of the result or the error, for the response to a legacy function call.
    pub(super) fn text(&self) -> &str {
        self.result.as_ref().or(self.error.as_ref()).map_or("", |text| text.expose())
    }

    /// The call's entry in `results`.
    pub(super) fn entry(&self, call: &ToolCall) -> Value {
        let mut entry = json!(self);
        entry["toolCallId"] = json!(call.id);
        if let Some(name) = &call.name {
            entry["name"] = json!(name);
        }
        entry
    }
}

/// Whether the message is a `ToolMessageComplete` or a `ToolMessageFailed`.
fn is_spoken(message: &Value) -> bool {
    matches!(message.get("type").and_then(Value::as_str), Some("request-complete" | "request-failed"))
}

/// A text, or the JSON of another value, as a single line. `None` if it is empty.
fn line(value: &Value) -> Option<String> {
    let line = match value {
        Value::Null => String::new(),
        Value::String(text) => single_line(text),
        value => single_line(&value.to_string()),
    };
    (!line.is_empty()).then_some(line)
}

/// Joins the lines of a text, because Vapi drops a result that contains a line break.
fn single_line(text: &str) -> String {
    let is_break = |c: char| matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let lines = text.split(is_break).map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoints_answer_becomes_one_line() {
        for (body, expected) in [
            (json!({"result": "Booked\r\nfor\u{2028}Tuesday"}), json!({"result": "Booked for Tuesday"})),
            (json!({"result": {"slot": "10:00"}}), json!({"result": r#"{"slot":"10:00"}"#})),
            (json!({"result": 7}), json!({"result": "7"})),
            (
                json!({"result": {"iccid": 89_440_000_000_000_012_345_u128}}),
                json!({"result": r#"{"iccid":89440000000000012345}"#}),
            ),
            (json!({"result": ""}), json!({"result": "Done."})),
            (json!({}), json!({"result": "Done."})),
            (json!({"error": "Fully\nbooked", "result": "x"}), json!({"error": "Fully booked"})),
            (json!({"error": "", "result": "ok"}), json!({"result": "ok"})),
            (json!({"error": false, "result": "ok"}), json!({"result": "ok"})),
            (json!({"error": null, "result": null}), json!({"result": "Done."})),
            (json!({"error": {"message": "slot taken"}}), json!({"error": r#"{"message":"slot taken"}"#})),
            (json!({"error": ["taken"]}), json!({"error": r#"["taken"]"#})),
            (json!({"result": {"note": "a\u{2028}b"}}), json!({"result": r#"{"note":"a b"}"#})),
            (
                json!({"result": "ok", "message": {"type": "request-complete", "content": "Done"}, "metadata": {"a": 1}}),
                json!({"result": "ok", "message": {"type": "request-complete", "content": "Done"}, "metadata": {"a": 1}}),
            ),
            (json!({"result": "ok", "message": "said", "metadata": 3}), json!({"result": "ok"})),
            (json!({"result": "ok", "message": {"type": "request-start", "content": "Wait"}}), json!({"result": "ok"})),
        ] {
            assert_eq!(json!(ToolResult::read(body.to_string().as_bytes()).unwrap()), expected, "{body}");
        }
        assert_eq!(json!(ToolResult::read(br#"{"result":"a\u0000b"}"#).unwrap()), json!({"result": "a\u{fffd}b"}));
    }

    #[test]
    fn an_unknown_reply_is_an_error() {
        for body in ["ok", "[1]", "\"ok\"", "<html>", "{\"result\":", r#"{"results":[{"result":"ok"}]}"#] {
            assert_eq!(ToolResult::read(body.as_bytes()), None, "{body}");
        }
        // The body of a 204 response.
        assert_eq!(json!(ToolResult::read(b"").unwrap()), json!({"result": "Done."}));
    }
}
