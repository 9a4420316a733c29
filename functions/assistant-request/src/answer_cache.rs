//! The latest answer for each called number. It is used while the database is unavailable.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ringfence_protocol::Credential;
use ringfence_vapi::{CallContext, OrgId};
use serde_json::Value;

/// The most numbers that an execution environment holds. A further number empties the cache.
const MAX_NUMBERS: usize = 1_000;

/// The sender and the called number (id and E.164). An org is identified together with the version of its key, so that
/// an answer is never used for another org or for another key version.
type Called = (Option<(OrgId, i32)>, Option<String>, Option<String>);

#[derive(Default)]
pub(crate) struct AnswerCache(Mutex<HashMap<Called, Value>>);

impl AnswerCache {
    /// Stores an answer. The answer must hold no data about the caller.
    pub(crate) fn insert(&self, credential: Credential, call: &CallContext, answer: Value) {
        let Some(called) = called(credential, call) else { return };
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MAX_NUMBERS && !answers.contains_key(&called) {
            answers.clear();
        }
        answers.insert(called, answer);
    }

    /// Removes the answer for a number that no agent answers any more.
    pub(crate) fn remove(&self, credential: Credential, call: &CallContext) {
        if let Some(called) = called(credential, call) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&called);
        }
    }

    pub(crate) fn get(&self, credential: Credential, call: &CallContext) -> Option<Value> {
        let called = called(credential, call)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&called).cloned()
    }
}

/// None: the message does not contain the called number.
fn called(credential: Credential, call: &CallContext) -> Option<Called> {
    let CallContext { phone_number_id, our_number, .. } = call;
    let number = our_number.as_ref().map(|number| number.expose().clone());
    let is_known = phone_number_id.is_some() || number.is_some();
    let sender = match credential {
        Credential::Org { org_id, key_version } => Some((org_id, key_version)),
        Credential::Platform => None,
    };
    is_known.then(|| (sender, phone_number_id.clone(), number))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(number: Option<&str>) -> CallContext {
        CallContext { our_number: number.map(|number| number.to_owned().into()), ..CallContext::default() }
    }

    fn of(org: &str) -> Credential {
        Credential::Org { org_id: org.parse().unwrap(), key_version: 1 }
    }

    #[test]
    fn an_answer_is_cached_for_its_org_and_number_only() {
        let (one, other) = (of("8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11"), of("8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c12"));
        let cache = AnswerCache::default();
        cache.insert(one, &call(Some("+15555550100")), json!({"assistantId": "a1"}));
        assert_eq!(cache.get(one, &call(Some("+15555550100"))), Some(json!({"assistantId": "a1"})));
        for (credential, number) in [
            (other, Some("+15555550100")),
            (Credential::Platform, Some("+15555550100")),
            (one, Some("+15555550101")),
            (one, None),
        ] {
            assert_eq!(cache.get(credential, &call(number)), None);
        }
        cache.remove(one, &call(Some("+15555550100")));
        assert_eq!(cache.get(one, &call(Some("+15555550100"))), None);
    }

    #[test]
    fn the_cache_holds_a_limited_count_of_numbers() {
        let (cache, org) = (AnswerCache::default(), of("8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11"));
        for number in 0..=MAX_NUMBERS {
            cache.insert(org, &call(Some(&format!("+1555555{number:04}"))), json!({}));
        }
        assert_eq!(cache.0.lock().unwrap().len(), 1);
    }
}
