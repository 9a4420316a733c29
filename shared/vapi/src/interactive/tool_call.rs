//! Parses the tool calls of a `tool-calls` message in each of their formats.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Conversation;
use crate::fingerprint::Fingerprint;
use crate::ids::is_token;
use crate::object::Object;
use crate::sanitise::sanitise;
use crate::sensitive::Sensitive;

/// The most calls of a message that are read. A model makes a few at once. Each is answered, so the limit also bounds
/// the answer.
const MAX_CALLS: usize = 1_000;
/// The longest id of a tool call that is part of an execution id as it is.
const MAX_READABLE_ID: usize = 64;

/// The calls of a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolCalls {
    /// In the order of the message.
    pub calls: Vec<ToolCall>,
    /// How many items of the list are left out: they have no id, so they cannot be answered, or exceed 1 000.
    pub left_out: usize,
}

/// A call of a tool by the model (`ToolCall`).
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// `id` or `toolCallId`, which the result must repeat. Model providers use an id again: in the next turn, in
    /// another chat, for another tool.
    pub id: String,
    /// `function.name`, or `name` in the flat formats.
    pub name: Option<String>,
    /// `function.arguments`, or `arguments` or `parameters` in the flat formats. `None` if the model wrote something
    /// else than an object, or was cut off.
    pub arguments: Option<Sensitive<Map<String, Value>>>,
}

impl ToolCalls {
    /// Reads the first list that has a call with an id, because a body has the same calls up to three times.
    pub(super) fn read(message: &Object<'_>) -> Self {
        let mut left_out = 0;
        for path in ["toolCallList", "toolCalls", "toolWithToolCallList"] {
            let items = message.objects(path).unwrap_or_default();
            let calls: Vec<_> = items.iter().filter_map(ToolCall::read).take(MAX_CALLS).collect();
            left_out = left_out.max(items.len() - calls.len());
            if !calls.is_empty() {
                return Self { left_out: items.len() - calls.len(), calls };
            }
        }
        Self { calls: Vec::new(), left_out }
    }
}

impl ToolCall {
    /// Reads a `function-call`. It has no id, so a hash of its name, arguments and timestamp replaces the id.
    pub(super) fn read_function_call(message: &Object<'_>) -> Self {
        let call = message.object("functionCall");
        let name = call.id("functionCall.name");
        let arguments = arguments(call.raw("functionCall.parameters"));
        let mut fingerprint = Fingerprint::new();
        fingerprint
            .text("name", name.as_deref())
            .map("arguments", arguments.as_ref().map(Sensitive::expose))
            .time("timestamp", message.time("timestamp"));
        Self { id: format!("function-call-{}", fingerprint.finish()), name, arguments }
    }

    /// Reads an item of a list: a call, or a tool definition with its call. The definition may have the name instead
    /// of the call, and may be in a field of its own. `None` if the call has no id.
    fn read(item: &Object<'_>) -> Option<Self> {
        let nested = item.raw("toolCallList.toolCall").map(|_| item.object("toolCallList.toolCall"));
        let call = nested.as_ref().unwrap_or(item);
        let function = call.object("toolCall.function");
        let written = function
            .raw("toolCall.function.arguments")
            .or_else(|| call.raw("toolCall.arguments"))
            .or_else(|| call.raw("toolCall.parameters"));
        let id = call.short_text("toolCall.id").or_else(|| call.short_text("toolCall.toolCallId"))?;
        let name = name(call).or_else(|| name(item)).or_else(|| name(&item.object("toolCallList.tool")));
        Some(Self { id, name, arguments: arguments(written) })
    }

    /// The identity of the call's execution: `tool-calls:{conversation}:{id}:{hash}`.
    ///
    /// The hash is of the conversation, the id, the name and the canonical arguments, so that another spelling of the
    /// arguments is the same execution, and another use of the id is not. `None` if the call cannot be executed,
    /// because it has no name or no readable arguments.
    ///
    /// Without a conversation, the message's time distinguishes two uses of an id, and is the same in a redelivery.
    pub(super) fn execution_id(
        &self,
        conversation: &Conversation,
        message_time: Option<jiff::Timestamp>,
    ) -> Option<String> {
        /// Of 64 digits. 128 bits are enough for no two executions to have the same hash.
        const HASH_DIGITS: usize = 32;
        let (name, arguments) = (self.name.as_deref()?, self.arguments.as_ref()?);
        let mut fingerprint = Fingerprint::new();
        match conversation.id() {
            Some((kind, id)) => fingerprint.text(kind, Some(id)),
            None => fingerprint.time("message_time", message_time),
        };
        fingerprint.text("id", Some(&self.id)).text("name", Some(name)).map("arguments", Some(arguments.expose()));
        let conversation = conversation.id().map_or("-", |(_, id)| id);
        let is_readable = self.id.len() <= MAX_READABLE_ID && is_token(&self.id);
        let id = if is_readable { &self.id } else { "-" };
        Some(format!("tool-calls:{conversation}:{id}:{}", &fingerprint.finish()[..HASH_DIGITS]))
    }
}

fn name(call: &Object<'_>) -> Option<String> {
    call.object("toolCall.function").id("toolCall.function.name").or_else(|| call.id("toolCall.name"))
}

/// A call's arguments: a JSON object, or a text that contains one. Some models write an empty list, an empty text or
/// null for a tool without parameters.
fn arguments(written: Option<&RawValue>) -> Option<Sensitive<Map<String, Value>>> {
    let value = match written.map(|written| serde_json::from_str(written.get())) {
        // The text has its own escapes, which the sanitiser did not see in the body.
        Some(Ok(Value::String(text))) if !text.trim().is_empty() => {
            serde_json::from_str(&sanitise(text.as_bytes())).ok()?
        }
        Some(Ok(Value::String(_))) | None => Value::Null,
        Some(Ok(value)) => value,
        // Nested too deeply.
        Some(Err(_)) => return None,
    };
    match value {
        Value::Object(arguments) => Some(Sensitive::from(arguments)),
        Value::Array(items) if items.is_empty() => Some(Sensitive::default()),
        Value::Null => Some(Sensitive::default()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::interactive::{Interactive, Question};
    use crate::{Message, parse};

    fn read(message: &Value) -> Interactive {
        let body = json!({ "message": message }).to_string();
        match parse(body.as_bytes(), "2026-11-24T12:00:00Z".parse().unwrap()).unwrap().message {
            Message::Interactive(interactive) => interactive,
            other => panic!("{other:?}"),
        }
    }

    fn tool_calls(message: &Value) -> ToolCalls {
        let mut message = message.clone();
        message["type"] = json!("tool-calls");
        match read(&message).question {
            Question::ToolCalls(calls) => calls,
            other => panic!("{other:?}"),
        }
    }

    fn call(id: &str, name: Option<&str>, arguments: Option<Value>) -> ToolCall {
        let arguments = arguments.map(|arguments| arguments.as_object().unwrap().clone().into());
        ToolCall { id: id.to_owned(), name: name.map(str::to_owned), arguments }
    }

    /// E6: every format in which a call arrives.
    #[test]
    fn every_shape_gives_the_same_call() {
        let arguments = json!({"date": "2026-09-15"});
        let nested = json!({"id": "call_1", "type": "function", "function": {"name": "book", "arguments": arguments}});
        let text = json!({"id": "call_1", "function": {"name": "book", "arguments": arguments.to_string()}});
        let expected = [call("call_1", Some("book"), Some(arguments.clone()))];
        for message in [
            json!({"toolCallList": [nested]}),
            json!({"toolCallList": [text]}),
            json!({"toolCallList": [{"id": "call_1", "name": "book", "parameters": arguments}]}),
            json!({"toolCallList": [{"id": "call_1", "name": "book", "arguments": arguments}]}),
            json!({"toolCallList": [{"toolCallId": "call_1", "name": "book", "arguments": arguments}]}),
            json!({"toolCallList": [], "toolCalls": [text]}),
            json!({"toolCallList": [{}, {"name": "book"}], "toolCalls": [text]}),
            json!({"toolCallList": 7, "toolCalls": null, "toolWithToolCallList": [{"toolCall": nested}]}),
            json!({"toolWithToolCallList": [
                {"function": {"name": "book"}, "toolCall": {"id": "call_1", "parameters": arguments}}
            ]}),
            json!({"toolWithToolCallList": [
                {"name": "book", "toolCall": {"id": "call_1", "function": {"arguments": arguments}}}
            ]}),
            json!({"toolWithToolCallList": [
                {"type": "function", "tool": {"name": "book"}, "toolCall": {"id": "call_1", "arguments": arguments}}
            ]}),
            json!({"toolWithToolCallList": [
                {"tool": {"function": {"name": "book"}}, "toolCall": {"toolCallId": "call_1", "arguments": arguments}}
            ]}),
        ] {
            assert_eq!(tool_calls(&message).calls, expected, "{message}");
        }
    }

    /// E1: no arguments, however they are written, are an empty object.
    #[test]
    fn no_arguments_are_an_empty_object() {
        for written in
            [json!(""), json!(" "), json!("null"), json!("{}"), json!("[]"), json!([]), json!({}), json!(null)]
        {
            let calls = tool_calls(&json!({"toolCallList": [{"id": "a", "name": "b", "arguments": written}]})).calls;
            assert_eq!(calls, [call("a", Some("b"), Some(json!({})))], "{written}");
        }
        assert_eq!(tool_calls(&json!({"toolCallList": [{"id": "a"}]})).calls, [call("a", None, Some(json!({})))]);
    }

    #[test]
    fn arguments_that_are_no_object_are_unreadable() {
        for written in [json!("{\"date\": \"20"), json!([1]), json!("[1]"), json!(7), json!("soon"), json!("\"x\"")] {
            let calls = tool_calls(&json!({"toolCallList": [{"id": "a", "name": "b", "arguments": written}]})).calls;
            assert_eq!(calls, [call("a", Some("b"), None)], "{written}");
        }
        let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
        assert_eq!(arguments(Some(&RawValue::from_string(deep).unwrap())), None);
        let escaped: &RawValue = serde_json::from_str(r#""{\"a\":\"\\u0000\"}""#).unwrap();
        assert_eq!(Value::Object(arguments(Some(escaped)).unwrap().into_exposed()), json!({"a": "\u{fffd}"}));
    }

    /// E1: an excess or an empty list is cut when it is read.
    #[test]
    fn calls_without_an_id_and_calls_beyond_the_limit_are_left_out() {
        let empty = tool_calls(&json!({"toolCallList": vec![json!({}); 5], "toolCalls": [{}]}));
        assert_eq!(empty, ToolCalls { calls: vec![], left_out: 5 });
        let many: Vec<_> = (0..MAX_CALLS + 7).map(|n| json!({"id": n.to_string(), "name": "b"})).collect();
        let read = tool_calls(&json!({ "toolCallList": many }));
        assert_eq!((read.calls.len(), read.left_out), (MAX_CALLS, 7));
        assert_eq!(tool_calls(&json!({})), ToolCalls::default());
        assert_eq!(tool_calls(&json!({"toolCallList": "x", "toolCalls": [1, "y"]})), ToolCalls::default());
    }

    /// E1: the identity is the conversation, the id, the name and the arguments.
    #[test]
    fn an_execution_is_identified_by_conversation_id_name_and_arguments() {
        let id = |message: &Value| {
            let interactive = read(message);
            let Question::ToolCalls(calls) = &interactive.question else { panic!("no tool calls") };
            interactive.execution_id(&calls.calls[0])
        };
        let base = json!({"type": "tool-calls", "timestamp": 1_789_398_143_880_i64, "call": {"id": "c1"},
            "chat": {"id": "h1", "sessionId": "s1"},
            "toolCallList": [{"id": "call_0", "name": "book", "arguments": {"n": 12_345_678_901_234_567_890_u64, "day": "Monday"}}]});
        let with = |pointer: &str, value: Value| {
            let mut message = base.clone();
            *message.pointer_mut(pointer).unwrap() = value;
            id(&message)
        };
        let same = id(&base);
        assert!(same.as_ref().unwrap().starts_with("tool-calls:c1:call_0:"), "{same:?}");
        assert_eq!(with("/timestamp", json!(1_789_398_150_000_i64)), same);
        assert_eq!(with("/chat", json!({"id": "h2"})), same, "the call identifies the conversation");
        let written = r#" { "day" : "\u004donday", "n":12345678901234567890.0 } "#;
        assert_eq!(with("/toolCallList/0/arguments", json!(written)), same);
        let chat = with("/call", json!(null));
        let others = [
            chat.clone(),
            with("/call/id", json!("c2")),
            with("/toolCallList/0/id", json!("call_1")),
            with("/toolCallList/0/name", json!("cancel")),
            with("/toolCallList/0/arguments", json!({"n": 12_345_678_901_234_567_891_u64, "day": "Monday"})),
            with("/toolCallList/0/arguments", json!({"n": "12345678901234567890", "day": "Monday"})),
        ];
        let distinct: std::collections::BTreeSet<_> = others.iter().chain([&same]).collect();
        assert_eq!(distinct.len(), others.len() + 1, "{distinct:?}");
        assert!(chat.unwrap().starts_with("tool-calls:h1:call_0:"));

        let mut unnamed = base.clone();
        unnamed.as_object_mut().unwrap().retain(|field, _| !["call", "chat"].contains(&field.as_str()));
        let first = id(&unnamed);
        assert!(first.as_ref().unwrap().starts_with("tool-calls:-:call_0:"));
        unnamed["timestamp"] = json!(1_789_398_143_881_i64);
        assert_ne!(id(&unnamed), first, "another message");
        unnamed["session"] = json!({"id": "s1"});
        assert!(id(&unnamed).unwrap().starts_with("tool-calls:s1:call_0:"));

        assert!(with("/toolCallList/0/id", json!("a b:c")).unwrap().starts_with("tool-calls:c1:-:"));
        assert_eq!(with("/toolCallList/0/name", json!(null)), None);
        assert_eq!(with("/toolCallList/0/arguments", json!("{\"cut\": ")), None);
    }

    #[test]
    fn a_function_call_has_the_same_id_in_each_delivery_and_another_at_another_time() {
        let id = |timestamp: i64, date: &str| {
            let message = json!({"type": "function-call", "timestamp": timestamp,
                "functionCall": {"name": "book", "parameters": {"date": date}}});
            match read(&message).question {
                Question::FunctionCall(call) => call.id,
                other => panic!("{other:?}"),
            }
        };
        let first = id(1_789_398_143_880, "2026-09-15");
        assert_eq!(id(1_789_398_143_880, "2026-09-15"), first);
        assert_ne!(id(1_789_398_143_881, "2026-09-15"), first);
        assert_ne!(id(1_789_398_143_880, "2026-09-16"), first);
    }

    /// Any JSON, with numbers as their text.
    fn any_json() -> impl Strategy<Value = Value> {
        let number = "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,12})?(e-?[0-9]{1,2})?";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            number.prop_map(|text| serde_json::from_str(&text).unwrap()),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::hash_map("[a-c]{1,2}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Writes JSON with spaces, in reversed order of keys, and with escapes.
    fn respelled(value: &Value) -> String {
        match value {
            Value::Object(map) => {
                let fields =
                    map.iter().rev().map(|(key, value)| format!("{} : {}", respelled(&json!(key)), respelled(value)));
                format!("{{ {}\n}}", fields.collect::<Vec<_>>().join(" , "))
            }
            Value::Array(items) => format!("[\t{} ]", items.iter().map(respelled).collect::<Vec<_>>().join(", ")),
            Value::String(text) => {
                let escaped: Vec<_> = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
                format!("\"{}\"", escaped.concat())
            }
            Value::Number(number) if !number.as_str().contains('e') => format!("{number}e0"),
            value => value.to_string(),
        }
    }

    fn execution_id(arguments: &str) -> Option<String> {
        let arguments = super::arguments(Some(serde_json::from_str(arguments).unwrap()));
        let call = ToolCall { id: "call_0".to_owned(), name: Some("book".to_owned()), arguments };
        call.execution_id(&Conversation::default(), None)
    }

    proptest! {
        /// E1: a redelivery whose arguments are spelled in another way is the same execution.
        #[test]
        fn every_spelling_of_arguments_is_the_same_execution(value in any_json()) {
            let arguments = json!({"a": value, "b": 1});
            let plain = execution_id(&arguments.to_string());
            prop_assert!(plain.is_some());
            let respelled = respelled(&arguments);
            prop_assert_eq!(execution_id(&respelled), plain.clone());
            prop_assert_eq!(execution_id(&json!(arguments.to_string()).to_string()), plain.clone());
            prop_assert_eq!(execution_id(&json!(respelled).to_string()), plain);
        }

        /// E1: other arguments are another execution.
        #[test]
        fn different_arguments_are_different_executions(one in any_json(), other in any_json()) {
            let [first, second] = [&one, &other].map(|value| execution_id(&json!({ "a": value }).to_string()));
            // Numbers are equal as texts only if they are spelled alike, so the generator's texts decide in one direction.
            if one == other {
                prop_assert_eq!(first, second);
            } else if !one.to_string().contains(|c: char| c.is_ascii_digit()) {
                prop_assert_ne!(first, second);
            }
        }

        /// E4: the digits of numbers in arguments are kept.
        #[test]
        fn arguments_keep_their_digits(digits in "-?[1-9][0-9]{0,60}(\\.[0-9]{1,30})?") {
            let body = format!(r#"{{"a":[{digits}]}}"#);
            for written in [body.clone(), json!(body).to_string()] {
                let read = super::arguments(Some(serde_json::from_str(&written).unwrap())).unwrap();
                prop_assert_eq!(Value::Object(read.into_exposed()).to_string(), body.as_str());
            }
        }
    }

    #[test]
    fn a_message_time_is_no_part_of_the_identity_of_a_named_conversation() {
        let conversation = Conversation { session_id: Some("s1".to_owned()), ..Conversation::default() };
        let call = call("a", Some("b"), Some(json!({})));
        let later = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(call.execution_id(&conversation, None), call.execution_id(&conversation, later));
    }
}
