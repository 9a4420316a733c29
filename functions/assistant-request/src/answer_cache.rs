//! The last answer for each number that was called, for when the database is away.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ringfence_protocol::Credential;
use ringfence_vapi::{CallFacts, OrgId};
use serde_json::Value;

/// As many numbers as one execution environment remembers. Beyond that it forgets all of them, and learns anew.
const MAX_NUMBERS: usize = 1_000;

/// Whose number was called. The org by this version of its own key only: none answers for another, nor for a key that came after.
type Called = (Option<(OrgId, i32)>, Option<String>, Option<String>);

/// What was answered for each number.
#[derive(Default)]
pub(crate) struct Memory(Mutex<HashMap<Called, Value>>);

impl Memory {
    /// Remembers an answer. It must not say who called.
    pub(crate) fn keep(&self, credential: Credential, call: Option<&CallFacts>, answer: Value) {
        let Some(called) = called(credential, call) else { return };
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MAX_NUMBERS && !answers.contains_key(&called) {
            answers.clear();
        }
        answers.insert(called, answer);
    }

    /// Nobody answers this number any more.
    pub(crate) fn forget(&self, credential: Credential, call: Option<&CallFacts>) {
        if let Some(called) = called(credential, call) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&called);
        }
    }

    /// The last answer for the number that was called.
    pub(crate) fn recall(&self, credential: Credential, call: Option<&CallFacts>) -> Option<Value> {
        let called = called(credential, call)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&called).cloned()
    }
}

/// `None`: the message does not say which number was called.
fn called(credential: Credential, call: Option<&CallFacts>) -> Option<Called> {
    let CallFacts { phone_number_id, our_number, .. } = call?;
    let number = our_number.as_ref().map(|number| number.expose().clone());
    let is_named = phone_number_id.is_some() || number.is_some();
    let sender = match credential {
        Credential::Org { org_id, key_version } => Some((org_id, key_version)),
        Credential::Platform => None,
    };
    is_named.then(|| (sender, phone_number_id.clone(), number))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(number: Option<&str>) -> CallFacts {
        serde_json::from_value(json!({"id": "c1", "our_number": number})).unwrap()
    }

    fn of(org: &str) -> Credential {
        Credential::Org { org_id: org.parse().unwrap(), key_version: 1 }
    }

    #[test]
    fn an_answer_is_remembered_for_its_org_and_number_only() {
        let (one, other) = (of("8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11"), of("8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c12"));
        let memory = Memory::default();
        memory.keep(one, Some(&call(Some("+15555550100"))), json!({"assistantId": "a1"}));
        assert_eq!(memory.recall(one, Some(&call(Some("+15555550100")))), Some(json!({"assistantId": "a1"})));
        for (credential, call) in [
            (other, Some(call(Some("+15555550100")))),
            (Credential::Platform, Some(call(Some("+15555550100")))),
            (one, Some(call(Some("+15555550101")))),
            (one, Some(call(None))),
            (one, None),
        ] {
            assert_eq!(memory.recall(credential, call.as_ref()), None);
        }
        memory.forget(one, Some(&call(Some("+15555550100"))));
        assert_eq!(memory.recall(one, Some(&call(Some("+15555550100")))), None);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let (memory, org) = (Memory::default(), of("8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11"));
        for number in 0..=MAX_NUMBERS {
            memory.keep(org, Some(&call(Some(&format!("+1555555{number:04}")))), json!({}));
        }
        assert_eq!(memory.0.lock().unwrap().len(), 1);
    }
}
