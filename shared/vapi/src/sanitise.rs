//! Makes a body storable before it is parsed.
//!
//! PostgreSQL cannot store U+0000 or half a surrogate pair, and a JSON parser refuses a text with one of them. To
//! avoid losing the event, both are replaced with U+FFFD, like bytes that are not UTF-8. A byte order mark, which a
//! relay may add (RFC 8259, section 8.1), is removed.

use std::borrow::Cow;

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The body as text that can be parsed and stored. Allocates only if something must be replaced.
pub(crate) fn sanitise(body: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body));
    match replace_escapes(&text) {
        Some(clean) => Cow::Owned(clean),
        None => text,
    }
}

/// `None` if nothing must be replaced.
fn replace_escapes(text: &str) -> Option<String> {
    let mut clean = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(offset) = text[at..].find('\\') {
        let start = at + offset;
        let escape = Escape::read(&text.as_bytes()[start..]);
        at = start + escape.len;
        if !escape.storable {
            clean.push_str(&text[copied..start]);
            clean.push_str("\\ufffd");
            copied = at;
        }
    }
    if copied == 0 {
        return None;
    }
    clean.push_str(&text[copied..]);
    Some(clean)
}

/// An escape sequence of JSON, starting at its backslash.
struct Escape {
    len: usize,
    storable: bool,
}

impl Escape {
    const UNICODE_LEN: usize = 6;

    fn read(bytes: &[u8]) -> Self {
        match unicode_escape(bytes) {
            Some(0xD800..=0xDBFF) => Self::after_high_surrogate(&bytes[Self::UNICODE_LEN..]),
            Some(0 | 0xDC00..=0xDFFF) => Self { len: Self::UNICODE_LEN, storable: false },
            Some(_) => Self { len: Self::UNICODE_LEN, storable: true },
            // Skips both characters of `\\` and `\"`, so that the second is not read as the start of another escape. A
            // non-ASCII character after the backslash is not an escape; the parser reports it.
            None if bytes.get(1).is_some_and(u8::is_ascii) => Self { len: 2, storable: true },
            None => Self { len: 1, storable: true },
        }
    }

    fn after_high_surrogate(rest: &[u8]) -> Self {
        match unicode_escape(rest) {
            Some(0xDC00..=0xDFFF) => Self { len: 2 * Self::UNICODE_LEN, storable: true },
            _ => Self { len: Self::UNICODE_LEN, storable: false },
        }
    }
}

/// The code unit of `\uXXXX`.
fn unicode_escape(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0_u16, |unit, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text of a JSON string after the pre-pass.
    fn decode(json: &str) -> String {
        serde_json::from_str(&sanitise(json.as_bytes())).unwrap()
    }

    #[test]
    fn nul_and_lone_surrogates_become_the_replacement_character() {
        for (json, text) in [
            (r#""a\u0000b""#, "a\u{fffd}b"),
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""\uDE00""#, "\u{fffd}"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\ud83d\n""#, "\u{fffd}\n"),
        ] {
            assert_eq!(decode(json), text, "{json}");
        }
    }

    #[test]
    fn everything_else_stays_and_is_not_copied() {
        for json in [r#""plain""#, r#""\ud83d\ude00 \u00e9 \n \" \\""#, r#""\\u0000""#, r#""\\\\ud83d""#] {
            assert!(matches!(sanitise(json.as_bytes()), Cow::Borrowed(same) if same == json), "{json}");
        }
    }

    #[test]
    fn an_escaped_backslash_before_an_escape_hides_nothing() {
        assert_eq!(decode(r#""\\\u0000""#), "\\\u{fffd}");
    }

    #[test]
    fn invalid_utf_8_becomes_the_replacement_character() {
        assert_eq!(sanitise(b"\"a\xffb\""), "\"a\u{fffd}b\"");
        assert_eq!(sanitise(b"\"\\\xff\\u0000\""), "\"\\\u{fffd}\\ufffd\"");
    }

    /// E6.
    #[test]
    fn one_byte_order_mark_is_removed() {
        assert_eq!(sanitise(b"\xef\xbb\xbf{}"), "{}");
        assert_eq!(sanitise(b"\xef\xbb\xbf\xef\xbb\xbf{}"), "\u{feff}{}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(prop_oneof![Just(b'\\'), Just(b'u'), Just(b'd'), Just(b'0'), any::<u8>()], 0..64)) {
            let _ = sanitise(&bytes);
        }

        #[test]
        fn any_string_is_readable_and_storable_afterwards(units in prop::collection::vec(any_unit(), 0..32)) {
            let escaped = units.iter().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat();
            let expected = String::from_utf16_lossy(&units).replace('\0', "\u{fffd}");
            prop_assert_eq!(decode(&format!("\"{escaped}\"")), expected);
        }

        #[test]
        fn a_storable_text_is_untouched(text in any::<String>()) {
            let text = text.replace('\0', "");
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(decode(&json), text);
        }

        #[test]
        fn twice_is_once(text in r#"[\\u0dD8fc"a]{0,40}"#) {
            let once = sanitise(text.as_bytes()).into_owned();
            prop_assert_eq!(sanitise(once.as_bytes()), once.as_str());
        }
    }

    /// UTF-16 code units, surrogates and zero among them far more often than by chance.
    fn any_unit() -> impl Strategy<Value = u16> {
        prop_oneof![Just(0), 0xD800_u16..=0xDBFF, 0xDC00_u16..=0xDFFF, any::<u16>()]
    }
}
