//! The hash in an event key.

use jiff::Timestamp;
use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};

use crate::json::canonical;
use crate::sensitive::Sensitive;

/// The SHA-256 hash of an event's facts.
///
/// Each fact is hashed as its name and its value, both prefixed with their lengths, so that no two sequences of facts
/// hash the same bytes. An absent fact adds no bytes.
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(crate) fn text(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        self.fact(name, value.map(str::as_bytes))
    }

    pub(crate) fn secret_text(&mut self, name: &str, value: Option<&Sensitive<String>>) -> &mut Self {
        self.text(name, value.map(|text| text.expose().as_str()))
    }

    pub(crate) fn time(&mut self, name: &str, value: Option<Timestamp>) -> &mut Self {
        self.fact(name, value.map(|time| time.as_millisecond().to_be_bytes()))
    }

    pub(crate) fn integer(&mut self, name: &str, value: Option<i64>) -> &mut Self {
        self.fact(name, value.map(i64::to_be_bytes))
    }

    pub(crate) fn number(&mut self, name: &str, value: Option<f64>) -> &mut Self {
        self.fact(name, value.map(f64::to_be_bytes))
    }

    /// Each spelling of a number has the same hash.
    pub(crate) fn exact_number(&mut self, name: &str, value: Option<&Number>) -> &mut Self {
        self.fact(name, value.map(|number| canonical(number.as_str())))
    }

    pub(crate) fn flag(&mut self, name: &str, value: Option<bool>) -> &mut Self {
        self.fact(name, value.map(|yes| [u8::from(yes)]))
    }

    pub(crate) fn json(&mut self, name: &str, value: Option<&Value>) -> &mut Self {
        match value {
            Some(Value::Object(map)) => self.map(name, Some(map)),
            Some(Value::Array(items)) => self.list(name, items),
            Some(Value::Number(number)) => self.exact_number(name, Some(number)),
            Some(scalar) => self.fact(name, Some(scalar.to_string())),
            None => self,
        }
    }

    pub(crate) fn map(&mut self, name: &str, value: Option<&Map<String, Value>>) -> &mut Self {
        let Some(map) = value else { return self };
        // The order of names is not a fact, and it depends on the features of serde_json.
        let mut fields: Vec<_> = map.iter().collect();
        fields.sort_unstable_by_key(|(key, _)| *key);
        self.fact(name, Some("{"));
        for (key, value) in fields {
            self.json(key, Some(value));
        }
        self.fact(name, Some("}"))
    }

    fn list(&mut self, name: &str, items: &[Value]) -> &mut Self {
        self.fact(name, Some("["));
        for item in items {
            self.json("", Some(item));
        }
        self.fact(name, Some("]"))
    }

    /// The hash as 64 hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }

    fn fact(&mut self, name: &str, value: Option<impl AsRef<[u8]>>) -> &mut Self {
        if let Some(value) = value {
            self.part(name.as_bytes());
            self.part(value.as_ref());
        }
        self
    }

    fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(facts: &[(&str, Option<&str>)]) -> String {
        let mut fingerprint = Fingerprint::new();
        for (name, value) in facts {
            fingerprint.text(name, *value);
        }
        fingerprint.finish()
    }

    fn json(value: &Value) -> String {
        let mut fingerprint = Fingerprint::new();
        fingerprint.json("value", Some(value));
        fingerprint.finish()
    }

    #[test]
    fn moving_a_character_between_facts_changes_the_hash() {
        assert_ne!(texts(&[("a", Some("bc"))]), texts(&[("ab", Some("c"))]));
        assert_ne!(texts(&[("a", Some("bc")), ("d", None)]), texts(&[("a", Some("b")), ("d", Some("c"))]));
        assert_ne!(texts(&[("a", None)]), texts(&[("a", Some(""))]));
    }

    #[test]
    fn json_is_hashed_by_its_structure_not_by_the_order_of_names() {
        let text = r#"{"b":[1,2],"a":{"c":null}}"#;
        let reordered = r#"{"a":{"c":null},"b":[1,2]}"#;
        assert_eq!(json(&serde_json::from_str(text).unwrap()), json(&serde_json::from_str(reordered).unwrap()));
    }

    #[test]
    fn json_of_different_structure_differs() {
        let values = [
            json!([]),
            json!([[]]),
            json!([[], []]),
            json!({}),
            json!({"": []}),
            json!("["),
            json!(["[", "]"]),
            json!("1"),
            json!(1),
            json!(null),
            json!([1, 2]),
            json!([12]),
            json!({"a": {"b": 1}}),
            json!({"a": {}, "b": 1}),
        ];
        let hashes: std::collections::HashSet<_> = values.iter().map(json).collect();
        assert_eq!(hashes.len(), values.len());
    }
}
