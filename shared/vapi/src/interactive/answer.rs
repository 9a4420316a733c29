//! Responses in Vapi's formats. Each has status 200, because Vapi ignores the body of any other status.

use serde_json::{Map, Value, json};

use super::{Agent, InquiryKind, Interactive, Lead, Question, ToolCall, ToolResult};

/// The sentence for a caller whose call no assistant takes.
const NOBODY: &str = "Sorry, nobody can take this call right now. Please try again later.";
/// The error for a tool that the org has not registered.
const NO_SUCH_TOOL: &str = "This tool is not configured.";

/// The response to an assistant request (`ServerMessageResponseAssistantRequest`): the agent's assistant, squad or
/// transient assistant with variables, or else the number or SIP URI to forward to. `None` if the agent has none of
/// these.
#[must_use]
pub fn assistant(agent: &Agent, lead: Option<&Lead>) -> Option<Value> {
    let configuration = &agent.configuration;
    let mut variables = configuration.variables.clone();
    if let Some(lead) = lead {
        variables.insert("lead".to_owned(), lead.variable());
    }
    let selected = |selector: &str, value: Value, overrides: &str| {
        let mut answer = Map::new();
        answer.insert(selector.to_owned(), value);
        if !variables.is_empty() {
            answer.insert(overrides.to_owned(), json!({"variableValues": variables}));
        }
        Value::Object(answer)
    };
    if let Some(id) = &agent.assistant_id {
        return Some(selected("assistantId", json!(id), "assistantOverrides"));
    }
    if let Some(id) = &agent.squad_id {
        return Some(selected("squadId", json!(id), "squadOverrides"));
    }
    if let Some(transient) = &configuration.assistant {
        return Some(selected("assistant", json!(transient), "assistantOverrides"));
    }
    let destination = configuration.transfer_destination.as_ref();
    let is_reachable = |to: &&Value| matches!(to.get("type").and_then(Value::as_str), Some("number" | "sip"));
    destination.filter(is_reachable).map(|to| json!({"destination": to}))
}

/// Forwards a call to a number (E.164) or a SIP URI, without an assistant.
#[must_use]
pub fn transfer_to(address: &str) -> Value {
    if address.starts_with("sip:") || address.starts_with("sips:") {
        json!({"destination": {"type": "sip", "sipUri": address}})
    } else {
        json!({"destination": {"type": "number", "number": address}})
    }
}

/// Vapi speaks the sentence to the caller and ends the call. An empty text is replaced, because Vapi would speak a
/// sentence of its own.
#[must_use]
pub fn sentence(text: Option<&str>) -> Value {
    json!({"error": text.filter(|text| !text.is_empty()).unwrap_or(NOBODY)})
}

/// The response to tool calls or to a legacy function call, with a result for each call.
#[must_use]
pub fn tool_results(question: &Question, results: &[(&ToolCall, ToolResult)]) -> Value {
    if let Question::FunctionCall(_) = question {
        return json!({"result": results.first().map_or(NO_SUCH_TOOL, |(_, result)| result.text())});
    }
    json!({"results": results.iter().filter_map(|(call, result)| result.entry(call)).collect::<Vec<_>>()})
}

/// A valid response to a message for which nothing is configured, in the format of the message's type.
#[must_use]
pub fn nothing_configured(message: &Interactive) -> Value {
    match &message.question {
        Question::Assistant => sentence(None),
        question @ Question::ToolCalls(calls) => tool_results(question, &refused(calls)),
        question @ Question::FunctionCall(call) => tool_results(question, &refused(std::slice::from_ref(call))),
        Question::Inquiry(inquiry) => match inquiry.kind {
            InquiryKind::TransferDestination => json!({"error": "No transfer destination is configured."}),
            InquiryKind::HandoffDestination => json!({"error": "No handoff destination is configured."}),
            InquiryKind::KnowledgeBase => json!({"documents": []}),
            // A compromise: a shorter wait interrupts the user, a longer one leaves a silence.
            InquiryKind::Endpointing => json!({"timeoutSeconds": 0.5}),
            // By default no contact is dialled.
            InquiryKind::CampaignPredial => json!({"eligible": false}),
        },
    }
}

fn refused(calls: &[ToolCall]) -> Vec<(&ToolCall, ToolResult)> {
    calls.iter().map(|call| (call, ToolResult::error(NO_SUCH_TOOL))).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::{Configuration, Inquiry};
    use super::*;
    use crate::call_context::CallContext;
    use crate::sensitive::Sensitive;

    fn tool_call(id: Option<&str>, name: Option<&str>) -> ToolCall {
        ToolCall { id: id.map(str::to_owned), name: name.map(str::to_owned), arguments: Sensitive::from(Value::Null) }
    }

    fn agent(assistant_id: Option<&str>, squad_id: Option<&str>, configuration: &Value) -> Agent {
        let configuration = Configuration::from_json(&configuration.to_string()).unwrap();
        let [assistant_id, squad_id] = [assistant_id, squad_id].map(|id| id.map(str::to_owned));
        Agent { id: Uuid::nil().into(), assistant_id, squad_id, configuration }
    }

    fn lead() -> Lead {
        let kept = json!({"id": Uuid::nil(), "name": "Sam", "phone": "+15555550142", "status": "new", "metadata": {"vip": true}});
        serde_json::from_value(kept).unwrap()
    }

    #[test]
    fn every_tool_call_that_has_an_id_gets_its_result() {
        let calls =
            vec![tool_call(Some("call_1"), Some("book")), tool_call(None, None), tool_call(Some("call_2"), None)];
        let message = Interactive { call: CallContext::default(), question: Question::ToolCalls(calls) };
        assert_eq!(
            nothing_configured(&message),
            json!({"results": [
                {"toolCallId": "call_1", "name": "book", "error": NO_SUCH_TOOL},
                {"toolCallId": "call_2", "error": NO_SUCH_TOOL},
            ]})
        );
    }

    #[test]
    fn every_other_message_gets_an_answer_of_its_shape() {
        let inquiry = |kind| Question::Inquiry(Inquiry { kind, details: Sensitive::from(Map::new()) });
        for (question, field) in [
            (Question::Assistant, "error"),
            (Question::FunctionCall(tool_call(None, None)), "result"),
            (inquiry(InquiryKind::TransferDestination), "error"),
            (inquiry(InquiryKind::HandoffDestination), "error"),
            (inquiry(InquiryKind::KnowledgeBase), "documents"),
            (inquiry(InquiryKind::Endpointing), "timeoutSeconds"),
            (inquiry(InquiryKind::CampaignPredial), "eligible"),
        ] {
            let answer = nothing_configured(&Interactive { call: CallContext::default(), question: question.clone() });
            assert_eq!(answer.as_object().unwrap().keys().collect::<Vec<_>>(), [field], "{question:?}");
        }
    }

    #[test]
    fn one_selector_is_sent_with_what_is_known_as_variables() {
        let variables = json!({"variables": {"shop": "Acme"}, "assistant": {"name": "Desk"},
            "transfer_destination": {"type": "number", "number": "+15555550155"}});
        let answer = assistant(&agent(Some("a1"), Some("s1"), &variables), Some(&lead())).unwrap();
        assert_eq!(
            answer,
            json!({"assistantId": "a1", "assistantOverrides": {"variableValues": {"shop": "Acme",
                "lead": {"id": Uuid::nil(), "name": "Sam", "phone": "+15555550142", "status": "new", "metadata": {"vip": true}}}}})
        );
        assert_eq!(assistant(&agent(None, Some("s1"), &json!({})), None), Some(json!({"squadId": "s1"})));
        let squad = assistant(&agent(None, Some("s1"), &json!({"variables": {"a": 1}})), None).unwrap();
        assert_eq!(squad["squadOverrides"], json!({"variableValues": {"a": 1}}));
        let transient = assistant(&agent(None, None, &variables), None).unwrap();
        assert_eq!(transient["assistant"], json!({"name": "Desk"}));
    }

    #[test]
    fn an_agent_without_an_assistant_forwards_where_it_can() {
        let number = json!({"type": "number", "number": "+15555550155"});
        let forwards = agent(None, None, &json!({ "transfer_destination": number }));
        assert_eq!(assistant(&forwards, Some(&lead())), Some(json!({ "destination": number })));
        let to_assistant = json!({"transfer_destination": {"type": "assistant", "assistantName": "Billing"}});
        assert_eq!(assistant(&agent(None, None, &to_assistant), None), None);
        assert_eq!(assistant(&agent(None, None, &json!({})), None), None);
    }

    #[test]
    fn a_fallback_is_a_number_a_sip_uri_or_a_sentence() {
        assert_eq!(transfer_to("+15555550155"), json!({"destination": {"type": "number", "number": "+15555550155"}}));
        assert_eq!(transfer_to("sip:desk@pbx"), json!({"destination": {"type": "sip", "sipUri": "sip:desk@pbx"}}));
        assert_eq!(sentence(Some("Call back.")), json!({"error": "Call back."}));
        assert_eq!(sentence(Some("")), json!({ "error": NOBODY }));
    }
}
