//! Parses the tool calls of a `tool-calls` message in each of their formats.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::fingerprint::Fingerprint;
use crate::ids::{VapiCallId, is_token};
use crate::object::Object;
use crate::sanitise::sanitise;
use crate::sensitive::Sensitive;

/// A call of a tool by the model (`ToolCall`).
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// `id`, which the result must repeat.
    pub id: Option<String>,
    /// `function.name`, or `name` in the flat formats.
    pub name: Option<String>,
    /// `function.arguments`, or `arguments` or `parameters` in the flat formats. An object; or, if the model wrote
    /// something else or was cut off, the written text.
    pub arguments: Sensitive<Value>,
}

impl ToolCall {
    /// Reads the first list that is not empty, because a body has the same calls up to three times.
    pub(super) fn read_all(message: &Object<'_>) -> Vec<Self> {
        [Self::read_list(message, "toolCallList"), Self::read_list(message, "toolCalls"), Self::read_tools(message)]
            .into_iter()
            .find(|calls| !calls.is_empty())
            .unwrap_or_default()
    }

    /// Reads a `function-call`. It has no id, so a hash of its name, arguments and timestamp replaces the id.
    pub(super) fn read_function_call(message: &Object<'_>) -> Self {
        let call = message.object("functionCall");
        let name = call.id("functionCall.name");
        let arguments = arguments(call.raw("functionCall.parameters"));
        let mut fingerprint = Fingerprint::new();
        fingerprint
            .text("name", name.as_deref())
            .json("arguments", Some(arguments.expose()))
            .time("timestamp", message.time("timestamp"));
        Self { id: Some(format!("function-call-{}", fingerprint.finish())), name, arguments }
    }

    /// The idempotency key of the execution, `tool-calls:{call}:{id}`. `None` if the tool call has no id, because it
    /// cannot be distinguished from others.
    #[must_use]
    pub fn execution_id(&self, call: Option<&VapiCallId>) -> Option<String> {
        let id = self.id.as_deref()?;
        let call = call.map_or("-", VapiCallId::as_str);
        if is_token(id) {
            return Some(format!("tool-calls:{call}:{id}"));
        }
        // An id that is not safe in a key is hashed.
        let mut fingerprint = Fingerprint::new();
        fingerprint.text("id", Some(id));
        Some(format!("tool-calls:{call}:{}", fingerprint.finish()))
    }

    fn read_list(message: &Object<'_>, path: &'static str) -> Vec<Self> {
        let calls = message.objects(path).unwrap_or_default();
        calls.iter().map(Self::read).collect()
    }

    /// Reads `toolWithToolCallList`: tool definitions, each with its call. The definition may have the name instead of
    /// the call.
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

/// A call's arguments, which are JSON or a text that contains JSON.
pub(super) fn arguments(written: Option<&RawValue>) -> Sensitive<Value> {
    let Some(written) = written else { return Sensitive::from(Value::Object(serde_json::Map::new())) };
    let value = match serde_json::from_str(written.get()) {
        // The text has its own escapes, which the sanitiser did not see in the body. Some models write no text for a
        // tool without parameters.
        Ok(Value::String(text)) if matches!(text.trim(), "" | "null") => Value::Object(serde_json::Map::new()),
        Ok(Value::String(text)) => serde_json::from_str(&sanitise(text.as_bytes())).unwrap_or(Value::String(text)),
        Ok(value) => value,
        // The JSON is nested too deeply, or a number is out of range.
        Err(_) => Value::String(written.get().to_owned()),
    };
    Sensitive::from(value)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::interactive::{Interactive, Question};
    use crate::{Message, parse};

    fn tool_calls(message: &Value) -> Vec<(Option<String>, Option<String>, Value)> {
        let mut message = message.clone();
        message["type"] = json!("tool-calls");
        let body = json!({ "message": message }).to_string();
        match parse(body.as_bytes(), Timestamp::UNIX_EPOCH).unwrap().message {
            Message::Interactive(Interactive { question: Question::ToolCalls(calls), .. }) => {
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
    fn no_arguments_are_an_empty_object() {
        for written in ["", " ", "null", "{}"] {
            let calls = tool_calls(&json!({"toolCallList": [{"id": "a", "name": "b", "arguments": written}]}));
            assert_eq!(calls[0].2, json!({}), "{written:?}");
        }
    }

    #[test]
    fn arguments_that_cannot_be_read_survive_as_a_text() {
        let read = |json: &str| arguments(Some(serde_json::from_str(json).unwrap())).into_exposed();
        assert_eq!(read(r#"{"a":1e999}"#), json!(r#"{"a":1e999}"#));
        assert_eq!(read(r#""{\"a\":\"\\u0000\"}""#), json!({"a": "\u{fffd}"}));
    }

    #[test]
    fn an_execution_is_named_by_call_and_id() {
        let call = |id: Option<&str>| ToolCall {
            id: id.map(str::to_owned),
            name: None,
            arguments: Sensitive::from(Value::Null),
        };
        let vapi_call: VapiCallId = "c1".parse().unwrap();
        assert_eq!(call(Some("call_1")).execution_id(Some(&vapi_call)).as_deref(), Some("tool-calls:c1:call_1"));
        assert_eq!(call(Some("call_1")).execution_id(None).as_deref(), Some("tool-calls:-:call_1"));
        let odd = call(Some("a b:c")).execution_id(None).unwrap();
        assert!(odd.starts_with("tool-calls:-:") && odd.len() == 77, "{odd}");
        assert_eq!(call(None).execution_id(None), None);
    }

    #[test]
    fn a_function_call_has_the_same_id_in_each_delivery_and_another_at_another_time() {
        let id = |timestamp: i64, date: &str| {
            let body = json!({"message": {"type": "function-call", "timestamp": timestamp,
                "functionCall": {"name": "book", "parameters": {"date": date}}}});
            match parse(body.to_string().as_bytes(), "2026-11-24T12:00:00Z".parse().unwrap()).unwrap().message {
                Message::Interactive(Interactive { question: Question::FunctionCall(call), .. }) => call.id.unwrap(),
                other => panic!("{other:?}"),
            }
        };
        let first = id(1_789_398_143_880, "2026-09-15");
        assert_eq!(id(1_789_398_143_880, "2026-09-15"), first);
        assert_ne!(id(1_789_398_143_881, "2026-09-15"), first);
        assert_ne!(id(1_789_398_143_880, "2026-09-16"), first);
    }

    #[test]
    fn a_message_without_calls_has_none() {
        assert!(tool_calls(&json!({})).is_empty());
        assert!(tool_calls(&json!({"toolCallList": "x", "toolCalls": [1, "y"]})).is_empty());
    }
}
