//! The answers that say that nothing is configured.

use serde_json::{Value, json};

use super::{Interactive, ToolCall};

/// A valid answer to a message for which nothing is configured, in the message's own shape (`ServerMessageResponse*`).
///
/// It is sent with status 200: Vapi ignores the bodies of other statuses.
#[must_use]
pub fn nothing_configured(message: &Interactive) -> Value {
    match message {
        // Spoken to the caller before the call ends.
        Interactive::AssistantRequest { .. } => {
            json!({"error": "Sorry, nobody can take this call right now. Please try again later."})
        }
        Interactive::ToolCalls(calls) => json!({"results": calls.iter().filter_map(tool_result).collect::<Vec<_>>()}),
        Interactive::FunctionCall { .. } => json!({"result": "This function is not configured."}),
        Interactive::TransferDestination => json!({"error": "No transfer destination is configured."}),
        Interactive::HandoffDestination => json!({"error": "No handoff destination is configured."}),
        Interactive::KnowledgeBase => json!({"documents": []}),
        // A wait between interrupting the user and leaving a silence.
        Interactive::Endpointing => json!({"timeoutSeconds": 0.5}),
        // Nobody is dialled by default.
        Interactive::CampaignPredial => json!({"eligible": false}),
    }
}

/// `ToolCallResult`. A call without an id cannot be answered.
fn tool_result(call: &ToolCall) -> Option<Value> {
    let id = call.id.as_deref()?;
    let mut result = json!({"toolCallId": id, "error": "This tool is not configured."});
    if let Some(name) = &call.name {
        result["name"] = json!(name);
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensitive::Sensitive;

    fn tool_call(id: Option<&str>, name: Option<&str>) -> ToolCall {
        ToolCall { id: id.map(str::to_owned), name: name.map(str::to_owned), arguments: Sensitive::from(Value::Null) }
    }

    #[test]
    fn every_tool_call_that_has_an_id_gets_its_result() {
        let calls =
            vec![tool_call(Some("call_1"), Some("book")), tool_call(None, None), tool_call(Some("call_2"), None)];
        let error = "This tool is not configured.";
        assert_eq!(
            nothing_configured(&Interactive::ToolCalls(calls)),
            json!({"results": [
                {"toolCallId": "call_1", "name": "book", "error": error},
                {"toolCallId": "call_2", "error": error},
            ]})
        );
    }

    #[test]
    fn every_other_message_gets_an_answer_of_its_shape() {
        let function_call = Interactive::FunctionCall { name: None, parameters: Sensitive::from(Value::Null) };
        for (message, field) in [
            (Interactive::AssistantRequest { call: None }, "error"),
            (function_call, "result"),
            (Interactive::TransferDestination, "error"),
            (Interactive::HandoffDestination, "error"),
            (Interactive::KnowledgeBase, "documents"),
            (Interactive::Endpointing, "timeoutSeconds"),
            (Interactive::CampaignPredial, "eligible"),
        ] {
            let answer = nothing_configured(&message);
            assert_eq!(answer.as_object().unwrap().keys().collect::<Vec<_>>(), [field], "{message:?}");
        }
    }
}
