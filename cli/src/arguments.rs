//! Parsers of arguments of more than one verb. An invalid argument never reaches a stack.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use ringfence_protocol::admin::MAX_TOKEN_LIFETIME;
use ringfence_vapi::contact_identifiers;
use ringfence_vapi::interactive::InquiryKind;
use serde_json::{Map, Value};
use strum::VariantNames as _;

/// As in the tables' constraints.
const MAX_NAME: usize = 200;
/// Longer than any useful overlap of two keys.
const MAX_OVERLAP: Duration = Duration::from_hours(366 * 24);

/// A name of 1 to 200 characters.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let name = text.trim();
    match name.chars().count() {
        1..=MAX_NAME => Ok(name.to_owned()),
        _ => Err(format!("a name has 1 to {MAX_NAME} characters")),
    }
}

/// A phone number in E.164, as the tables store it.
pub(crate) fn phone_number(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix('+').unwrap_or_default();
    let in_form = (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if in_form && !digits.starts_with('0') {
        return Ok(text.to_owned());
    }
    Err("a phone number is written in E.164: a plus sign, the country code and 7 to 15 digits in all, +15555550142"
        .to_owned())
}

/// A phone number or SIP URI of a customer, in any spelling that Vapi may have sent.
pub(crate) fn contact(text: &str) -> Result<String, String> {
    const MAX: usize = 256;
    let text = text.trim();
    if text.chars().count() <= MAX && !contact_identifiers(text).is_empty() {
        return Ok(text.to_owned());
    }
    Err(format!("a phone number such as +15555550142, or a SIP URI, of at most {MAX} characters"))
}

/// Vapi's id of an assistant, a squad or a phone number.
pub(crate) fn vapi_id(text: &str) -> Result<String, String> {
    const MAX: usize = 128;
    if (1..=MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(format!("a Vapi id has 1 to {MAX} characters and no spaces"))
}

/// The type of a message that an org's endpoint can answer.
pub(crate) fn answerable_message(text: &str) -> Result<String, String> {
    let names = InquiryKind::VARIANTS;
    if names.contains(&text) { Ok(text.to_owned()) } else { Err(format!("one of {}", names.join(", "))) }
}

/// A JSON object, literal or, after an `@`, as the name of a file that contains it.
pub(crate) fn json_object(text: &str) -> Result<Map<String, Value>, String> {
    let read = |file: &str| std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"));
    let json = text.strip_prefix('@').map_or_else(|| Ok(text.to_owned()), read)?;
    serde_json::from_str(&json).map_err(|error| format!("not a JSON object: {error}"))
}

/// A duration such as `24h`, `90m`, `7d` or `0s`.
pub(crate) fn overlap(text: &str) -> Result<Duration, String> {
    let span: Span = text.parse().map_err(|_| "write a time as 24h, 90m, 7d or 0s".to_owned())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok();
    let duration = duration.and_then(|duration| Duration::try_from(duration).ok());
    duration.filter(|overlap| *overlap <= MAX_OVERLAP).ok_or_else(|| "the time must be from 0s to 366d".to_owned())
}

/// The lifetime of a token: `15m`, `1h`.
pub(crate) fn lifetime(text: &str) -> Result<Duration, String> {
    let fits = |lifetime: &Duration| *lifetime > Duration::ZERO && *lifetime <= MAX_TOKEN_LIFETIME;
    Some(overlap(text)?).filter(fits).ok_or_else(|| "the time must be more than 0s and at most 12h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_number_is_e164() {
        assert_eq!(phone_number("+15555550142").as_deref(), Ok("+15555550142"));
        for wrong in
            ["", "+", "15555550142", "+0555555014", "+1 555 555 0142", "+123456", "+1234567890123456", "+1555555014x"]
        {
            assert!(phone_number(wrong).is_err(), "{wrong}");
        }
    }

    /// E3: an erasure takes each spelling that can be stored.
    #[test]
    fn a_contact_has_any_spelling() {
        for text in
            ["+15555550142", "15555550142", "+1 (555) 555-0142", "tel:+15555550142", "sip:kim@pbx.example.com", "1001"]
        {
            assert_eq!(contact(text).as_deref(), Ok(text));
        }
        for wrong in ["", "  ", "tel:", &"1".repeat(257)] {
            assert!(contact(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_overlap_has_a_unit_and_a_limit() {
        assert_eq!(overlap("24h"), Ok(Duration::from_hours(24)));
        assert_eq!(overlap("7d"), Ok(Duration::from_hours(7 * 24)));
        assert_eq!(overlap("0s"), Ok(Duration::ZERO));
        for wrong in ["", "24", "soon", "-1h", "1mo", "367d"] {
            assert!(overlap(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_object_is_written_out_or_in_a_file() {
        assert_eq!(json_object(r#"{"a":1}"#).map(|map| map.len()), Ok(1));
        for wrong in ["", "[]", "{", "@no such file"] {
            assert!(json_object(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_neither_empty_nor_endless() {
        assert_eq!(name(" Acme Plumbing ").as_deref(), Ok("Acme Plumbing"));
        assert!(name("  ").is_err());
        assert!(name(&"x".repeat(201)).is_err());
    }
}
