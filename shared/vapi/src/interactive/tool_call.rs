//! The tool calls of a `tool-calls` message, in all the shapes in which they arrive.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::object::Object;
use crate::sanitise::sanitise;
use crate::sensitive::Sensitive;

/// A tool that the model calls (`ToolCall`).
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// `id`, which the result must echo.
    pub id: Option<String>,
    /// `function.name`, or the flattened forms' `name`.
    pub name: Option<String>,
    /// `function.arguments`, or the flattened forms' `arguments` or `parameters`. An object, unless the model wrote
    /// something else or was cut off: then what it wrote, as a text.
    pub arguments: Sensitive<Value>,
}

impl ToolCall {
    /// Bodies carry the same calls up to three times; the plainest list that has any is read.
    pub(super) fn read_all(message: &Object<'_>) -> Vec<Self> {
        [Self::read_list(message, "toolCallList"), Self::read_list(message, "toolCalls"), Self::read_tools(message)]
            .into_iter()
            .find(|calls| !calls.is_empty())
            .unwrap_or_default()
    }

    fn read_list(message: &Object<'_>, path: &'static str) -> Vec<Self> {
        let calls = message.objects(path).unwrap_or_default();
        calls.iter().map(Self::read).collect()
    }

    /// `toolWithToolCallList`: the tools' definitions, each with its call. The call's name may stand in the definition.
    fn read_tools(message: &Object<'_>) -> Vec<Self> {
        let tools = message.objects("toolWithToolCallList").unwrap_or_default();
        tools
            .iter()
            .map(|tool| {
                let call = Self::read(&tool.object("toolWithToolCallList.toolCall"));
                Self { name: call.name.or_else(|| name(tool)), ..call }
            })
            .collect()
    }

    fn read(call: &Object<'_>) -> Self {
        let function = call.object("toolCall.function");
        let written = function
            .raw("toolCall.function.arguments")
            .or_else(|| call.raw("toolCall.arguments"))
            .or_else(|| call.raw("toolCall.parameters"));
        Self { id: call.short_text("toolCall.id"), name: name(call), arguments: arguments(written) }
    }
}

fn name(call: &Object<'_>) -> Option<String> {
    call.object("toolCall.function").id("toolCall.function.name").or_else(|| call.id("toolCall.name"))
}

/// A call's arguments, written as JSON or as a text that holds JSON.
pub(super) fn arguments(written: Option<&RawValue>) -> Sensitive<Value> {
    let Some(written) = written else { return Sensitive::from(Value::Object(serde_json::Map::new())) };
    let value = match serde_json::from_str(written.get()) {
        // The text has escapes of its own, which the pre-pass over the body could not see.
        Ok(Value::String(text)) => serde_json::from_str(&sanitise(text.as_bytes())).unwrap_or(Value::String(text)),
        Ok(value) => value,
        // Too deep, or a number out of range.
        Err(_) => Value::String(written.get().to_owned()),
    };
    Sensitive::from(value)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{Interactive, Message, parse};

    fn tool_calls(message: &Value) -> Vec<(Option<String>, Option<String>, Value)> {
        let mut message = message.clone();
        message["type"] = json!("tool-calls");
        let body = json!({ "message": message }).to_string();
        match parse(body.as_bytes(), Timestamp::UNIX_EPOCH).unwrap().message {
            Message::Interactive(Interactive::ToolCalls(calls)) => {
                calls.into_iter().map(|call| (call.id, call.name, call.arguments.into_exposed())).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_shape_gives_the_same_call() {
        let arguments = json!({"date": "2026-09-15"});
        let nested = json!({"id": "call_1", "type": "function", "function": {"name": "book", "arguments": arguments}});
        let text = json!({"id": "call_1", "function": {"name": "book", "arguments": arguments.to_string()}});
        let expected = [(Some("call_1".to_owned()), Some("book".to_owned()), arguments.clone())];
        for message in [
            json!({"toolCallList": [nested]}),
            json!({"toolCallList": [text]}),
            json!({"toolCallList": [{"id": "call_1", "name": "book", "parameters": arguments}]}),
            json!({"toolCallList": [{"id": "call_1", "name": "book", "arguments": arguments}]}),
            json!({"toolCallList": [], "toolCalls": [text]}),
            json!({"toolCallList": 7, "toolCalls": null, "toolWithToolCallList": [{"toolCall": nested}]}),
            json!({"toolWithToolCallList": [
                {"function": {"name": "book"}, "toolCall": {"id": "call_1", "parameters": arguments}}
            ]}),
            json!({"toolWithToolCallList": [
                {"name": "book", "toolCall": {"id": "call_1", "function": {"arguments": arguments}}}
            ]}),
        ] {
            assert_eq!(tool_calls(&message), expected, "{message}");
        }
    }

    #[test]
    fn arguments_that_were_cut_off_survive_as_a_text() {
        let calls = tool_calls(&json!({"toolCallList": [{"id": "a", "name": "b", "arguments": "{\"date\": \"20"}]}));
        assert_eq!(calls[0].2, json!("{\"date\": \"20"));
    }

    #[test]
    fn arguments_that_cannot_be_read_survive_as_a_text() {
        let read = |json: &str| arguments(Some(serde_json::from_str(json).unwrap())).into_exposed();
        assert_eq!(read(r#"{"a":1e999}"#), json!(r#"{"a":1e999}"#));
        assert_eq!(read(r#""{\"a\":\"\\u0000\"}""#), json!({"a": "\u{fffd}"}));
    }

    #[test]
    fn a_message_without_calls_has_none() {
        assert!(tool_calls(&json!({})).is_empty());
        assert!(tool_calls(&json!({"toolCallList": "x", "toolCalls": [1, "y"]})).is_empty());
    }
}
