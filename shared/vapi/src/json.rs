//! Parses the parts of a body that are stored as JSON, and numbers.

use serde_json::{Number, Value};

/// The most digits of a number in JSON that is stored, written without an exponent. Every 64-bit float has fewer.
/// PostgreSQL writes numbers without an exponent, so six bytes like `1e9999` would become many.
const MAX_DIGITS: usize = 400;

/// Limits for JSON from outside that is stored.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// The length of the JSON text, with its numbers written without exponents.
    pub(crate) bytes: usize,
    /// The nesting depth of objects and lists, including the outermost.
    pub(crate) depth: usize,
}

/// A JSON object or list from outside.
pub(crate) struct Collection {
    pub(crate) value: Value,
    /// Whether no number was left out.
    pub(crate) is_complete: bool,
}

/// A JSON object or list within the limits. A number with more than [`MAX_DIGITS`] digits is left out of its object, or
/// becomes null in its list.
///
/// The limits are checked on the text, because parsing deeply nested JSON would recurse as deeply.
pub(crate) fn collection(json: &str, limits: Limits) -> Option<Collection> {
    if !json.starts_with(['{', '[']) || json.len() > limits.bytes {
        return None;
    }
    let size = Size::of(json);
    if size.depth > limits.depth || size.bytes > limits.bytes {
        return None;
    }
    let mut value = serde_json::from_str(json).ok()?;
    if size.has_long_numbers {
        remove_long_numbers(&mut value);
    }
    Some(Collection { value, is_complete: !size.has_long_numbers })
}

pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// A finite number, from a JSON number or a JSON string that contains one.
pub(crate) fn number(json: &str) -> Option<f64> {
    // Adding zero turns -0 into 0, because both are the same fact.
    numeral(json)?.parse::<f64>().ok().map(|number| number + 0.0).filter(|number| number.is_finite())
}

/// As [`number`], with all digits. `None` if it has more than `digits`.
pub(crate) fn exact_number(json: &str, digits: usize) -> Option<Number> {
    let numeral = numeral(json).filter(|numeral| plain_digits(numeral) <= digits)?;
    serde_json::from_str(numeral).ok()
}

/// The text of a JSON number, or of the number in a JSON string. Forwarders and older senders quote numbers.
pub(crate) fn numeral(json: &str) -> Option<&str> {
    let quoted = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'));
    let text = quoted.map_or(json, str::trim);
    let is_numeral = text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'))
        && text.parse::<f64>().is_ok();
    is_numeral.then_some(text)
}

/// The one spelling of a number's value: `15e-1` for `1.5`, `1.50` and `0.15e1`.
pub(crate) fn canonical(number: &str) -> String {
    let Some((sign, integer, fraction, exponent)) = parts(number) else { return number.to_owned() };
    let digits = format!("{integer}{fraction}");
    let significant = digits.trim_end_matches('0');
    let exponent = exponent.saturating_sub_unsigned(fraction.len() as u64);
    let exponent = exponent.saturating_add_unsigned((digits.len() - significant.len()) as u64);
    match significant.trim_start_matches('0') {
        "" => "0".to_owned(),
        significant => format!("{sign}{significant}e{exponent}"),
    }
}

/// How many digits a number has without its exponent.
fn plain_digits(number: &str) -> usize {
    let Some((_, integer, fraction, exponent)) = parts(number) else { return usize::MAX };
    let shift = usize::try_from(exponent.unsigned_abs()).unwrap_or(usize::MAX);
    let (growing, shrinking) =
        if exponent < 0 { (fraction.len(), integer.len()) } else { (integer.len(), fraction.len()) };
    growing.saturating_add(shift).saturating_add(shrinking.saturating_sub(shift))
}

/// A number's sign, the digits before and after its point, and its exponent. `None` if the exponent is out of range.
fn parts(number: &str) -> Option<(&str, &str, &str, i64)> {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().ok()?),
        None => (number, 0),
    };
    let digits = mantissa.trim_start_matches('-');
    let sign = &mantissa[..mantissa.len() - digits.len()];
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    Some((sign, integer, fraction, exponent))
}

fn remove_long_numbers(value: &mut Value) {
    let is_long = |value: &Value| matches!(value, Value::Number(number) if plain_digits(number.as_str()) > MAX_DIGITS);
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !is_long(value));
            map.values_mut().for_each(remove_long_numbers);
        }
        Value::Array(items) => {
            for item in items {
                if is_long(item) {
                    *item = Value::Null;
                } else {
                    remove_long_numbers(item);
                }
            }
        }
        _ => {}
    }
}

/// The size of a JSON text.
#[derive(Default)]
struct Size {
    depth: usize,
    /// With numbers written without exponents, and without the numbers that have too many digits.
    bytes: usize,
    has_long_numbers: bool,
}

impl Size {
    fn of(json: &str) -> Self {
        let mut size = Self { bytes: json.len(), ..Self::default() };
        let (mut depth, mut in_text) = (0_usize, false);
        let bytes = json.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'"' => in_text = !in_text,
                b'\\' if in_text => at += 1,
                _ if in_text => {}
                b'{' | b'[' => {
                    depth += 1;
                    size.depth = size.depth.max(depth);
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                b'-' | b'0'..=b'9' => {
                    let rest = &bytes[at..];
                    let len = rest
                        .iter()
                        .take_while(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'))
                        .count();
                    size.add_number(&json[at - 1..at + len]);
                    at += len;
                }
                _ => {}
            }
        }
        size
    }

    fn add_number(&mut self, number: &str) {
        let digits = plain_digits(number);
        if digits > MAX_DIGITS {
            self.has_long_numbers = true;
        } else {
            self.bytes += digits.saturating_sub(number.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn depth_counts_brackets_outside_texts() {
        for (json, expected) in
            [("1", 0), ("[]", 1), (r#"{"a":[{}],"b":[]}"#, 3), (r#"["[[[", "\"[[", "\\"]"#, 1), ("[[],[[]]]", 3)]
        {
            assert_eq!(Size::of(json).depth, expected, "{json}");
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

    /// E6: a number written as text is a number.
    #[test]
    fn numbers_are_finite_and_may_be_texts() {
        for (json, expected) in [("17.3", 17.3), (r#""42.7""#, 42.7), (r#"" 0.3412 ""#, 0.3412), (r#""1e3""#, 1e3)] {
            assert_eq!(number(json), Some(expected), "{json}");
        }
        assert_eq!(number("-0").map(f64::to_bits), Some(0));
        for json in
            ["1e999", "true", r#""""#, r#""1,5""#, r#""NaN""#, r#""-inf""#, r#""0x10""#, r#""\u0031""#, "null", "[1]"]
        {
            assert_eq!(number(json), None, "{json}");
        }
    }

    /// E4: digits are kept, and a number that PostgreSQL cannot store takes nothing else with it.
    #[test]
    fn numbers_keep_their_digits_and_have_a_limit() {
        let read = |json: &str| {
            let read = collection(json, Limits { bytes: 1_000, depth: 9 })?;
            Some((read.value.to_string(), read.is_complete))
        };
        let exact = r#"{"a":[89440000000000012345,-0.10,5e-324],"b":1e+308}"#;
        assert_eq!(read(exact), Some((exact.to_owned(), true)));
        let long = r#"{"a":1e999,"b":[1,1e-200000,{"c":-1e99999999999999999999}],"d":"1e999"}"#;
        assert_eq!(read(long), Some((r#"{"b":[1,null,{}],"d":"1e999"}"#.to_owned(), false)));
        assert_eq!(read(&format!("[{}]", vec!["1e308"; 20].join(","))), None, "6 000 digits in the database");
        assert_eq!(exact_number(r#""0.34""#, 40).map(|number| number.to_string()).as_deref(), Some("0.34"));
        assert_eq!(exact_number("1e99", 40), None);
    }

    proptest! {
        /// E4, E1: every spelling of a number has one canonical form, and different values have different ones.
        #[test]
        fn equal_numbers_have_one_canonical_form(digits in "-?[1-9][0-9]{0,40}", shift in 0_i64..30, zeros in 0_usize..5) {
            let canonical_form = canonical(&digits);
            let zeros = "0".repeat(zeros);
            let (sign, unsigned) = digits.strip_prefix('-').map_or(("", digits.as_str()), |unsigned| ("-", unsigned));
            for spelling in [
                format!("{digits}.{zeros}"),
                format!("{sign}0.{unsigned}{zeros}e{}", unsigned.len()),
                format!("{digits}{}E-{shift}", "0".repeat(usize::try_from(shift).unwrap())),
                format!("{digits}e+0"),
            ] {
                prop_assert_eq!(canonical(spelling.trim_end_matches('.')), canonical_form.as_str());
            }
            prop_assert_ne!(canonical(&format!("{digits}1")), canonical_form.as_str());
            prop_assert_ne!(canonical(&format!("{digits}e1")), canonical_form);
        }

        /// E4: PostgreSQL writes no more digits than are counted here.
        #[test]
        fn plain_digits_are_those_of_the_plain_notation(float in any::<f64>().prop_filter("finite", |float| float.is_finite())) {
            let plain = float.abs().to_string();
            let exponential = format!("{:e}", float.abs());
            let digits = plain.bytes().filter(u8::is_ascii_digit).count();
            let counted = plain_digits(&exponential);
            prop_assert!(counted <= MAX_DIGITS && counted.abs_diff(digits) <= 1, "{} {}", plain, exponential);
        }
    }
}
