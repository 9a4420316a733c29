//! Parses the parts of a body that are stored as JSON, and numbers.

use serde_json::Value;

/// Limits for JSON from outside that is stored.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// The length of the JSON text.
    pub(crate) bytes: usize,
    /// The nesting depth of objects and lists, including the outermost.
    pub(crate) depth: usize,
}

/// A JSON object or list within the limits.
///
/// The limits are checked on the text, because parsing deeply nested JSON would recurse as deeply.
pub(crate) fn collection(json: &str, limits: Limits) -> Option<Value> {
    let fits = json.starts_with(['{', '[']) && json.len() <= limits.bytes && depth(json) <= limits.depth;
    if fits { serde_json::from_str(json).ok() } else { None }
}

pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// A JSON number, if it is finite.
pub(crate) fn number(json: &str) -> Option<f64> {
    if !json.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    // Adding zero turns -0 into 0, because both are the same fact.
    json.parse::<f64>().ok().map(|number| number + 0.0).filter(|number| number.is_finite())
}

fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut in_text = false;
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_text = !in_text,
            b'\\' if in_text => _ = bytes.next(),
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_texts() {
        for (json, expected) in
            [("1", 0), ("[]", 1), (r#"{"a":[{}],"b":[]}"#, 3), (r#"["[[[", "\"[[", "\\"]"#, 1), ("[[],[[]]]", 3)]
        {
            assert_eq!(depth(json), expected, "{json}");
        }
    }

    #[test]
    fn values_that_are_too_long_or_too_deep_are_dropped() {
        let limits = Limits { bytes: 12, depth: 2 };
        assert!(collection(r#"{"a":[1,2]}"#, limits).is_some());
        assert!(collection("[[[]]]", limits).is_none());
        assert!(collection("[1,2,3,4,5,6,7]", limits).is_none());
        assert!(collection(r#""text""#, limits).is_none());
    }

    #[test]
    fn numbers_are_finite() {
        assert_eq!(number("17.3"), Some(17.3));
        assert_eq!(number("-0").map(f64::to_bits), Some(0));
        for json in ["1e999", "true", r#""1""#, "null", "[1]"] {
            assert_eq!(number(json), None, "{json}");
        }
    }
}
