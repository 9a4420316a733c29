//! Phone numbers and SIP URIs.

/// Words that stand for a withheld number, without spaces and punctuation and in lower case. RFC 3323 (4.1.1.3)
/// defines `sip:anonymous@anonymous.invalid`; carriers and Vapi's providers send the other words, alone or as the user
/// part of a SIP URI.
const WITHHELD_WORDS: [&str; 9] = [
    "anonymous",
    "blocked",
    "callerunknown",
    "nocallerid",
    "private",
    "restricted",
    "unavailable",
    "unknown",
    "withheld",
];
/// Numbers that stand for a withheld number: the words on a telephone keypad. Twilio's support article 223179988, "Why
/// am I getting calls from these strange numbers?", lists them. They arrive with and without a plus sign, and with the
/// country code 1.
const WITHHELD_NUMBERS: [&str; 5] = [
    "266696687",   // ANONYMOUS
    "2562533",     // BLOCKED
    "7378742833",  // RESTRICTED
    "86282452253", // UNAVAILABLE
    "8656696",     // UNKNOWN
];

/// The shortest international number, without the plus sign.
const MIN_INTERNATIONAL: usize = 7;
/// The shortest number of any kind, such as an extension or an emergency number.
const MIN_NUMBER: usize = 3;

/// The number in E.164, if it is one without its spaces, dots, dashes and brackets. Otherwise the trimmed text.
///
/// No country code is added: a national number and a SIP URI stay unchanged. `None` if the text names nobody: it is
/// blank, a placeholder for a withheld number, or the fragment of a number, such as `+1`.
pub(crate) fn normalise(text: &str) -> Option<String> {
    let compact: String = text.chars().filter(|&c| !is_decoration(c)).collect();
    if compact.is_empty() || is_fragment(&compact) || is_withheld(&compact) {
        return None;
    }
    Some(if is_e164(&compact) { compact } else { text.trim().to_owned() })
}

fn is_decoration(c: char) -> bool {
    c.is_whitespace() || matches!(c, '.' | '-' | '(' | ')' | '[' | ']')
}

/// A plus sign and 7 to 15 digits, of which the first is not 0.
fn is_e164(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else { return false };
    (MIN_INTERNATIONAL..=15).contains(&digits.len()) && is_digits(digits) && !digits.starts_with('0')
}

/// Whether the text is a number that is too short to be whole.
fn is_fragment(text: &str) -> bool {
    match text.strip_prefix('+') {
        Some(digits) => is_digits(digits) && digits.len() < MIN_INTERNATIONAL,
        None => is_digits(text) && text.len() < MIN_NUMBER,
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_withheld(text: &str) -> bool {
    let user = sip_user(text);
    let number = user.strip_prefix('+').unwrap_or(user);
    let national = number.strip_prefix('1').unwrap_or(number);
    if WITHHELD_NUMBERS.contains(&number) || WITHHELD_NUMBERS.contains(&national) {
        return true;
    }
    let word: String = user.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    WITHHELD_WORDS.contains(&word.as_str())
}

/// The user part of a SIP or `tel:` URI. Any other text is returned whole.
fn sip_user(text: &str) -> &str {
    let schemes = ["sip:", "sips:", "tel:"];
    let scheme = schemes.iter().find(|scheme| text.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme)));
    let Some(rest) = scheme.and_then(|scheme| text.get(scheme.len()..)) else { return text };
    rest.split(['@', ';']).next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn a_decorated_number_becomes_e164() {
        for number in ["+15555550142", "+1 (555) 555-0142", "+1.555.555.0142", " +1[555]5550142 ", "+1\u{a0}5555550142"]
        {
            assert_eq!(normalise(number).as_deref(), Some("+15555550142"), "{number}");
        }
    }

    #[test]
    fn anything_else_stays_as_it_is() {
        for text in ["(555) 555-0142", "sip:sam-1@pbx.example.com", "101", "+1234567890123456", "+1x5", "Unknown Ltd"] {
            assert_eq!(normalise(text).as_deref(), Some(text));
        }
        assert_eq!(normalise("  "), None);
    }

    /// E2: a caller who withholds the number has none.
    #[test]
    fn a_placeholder_for_a_withheld_number_is_no_number() {
        for text in [
            "anonymous",
            "Restricted",
            "UNAVAILABLE",
            "unknown",
            "Private",
            "No Caller ID",
            "+266696687",
            "266696687",
            "+7378742833",
            "+17378742833",
            "+1 (737) 874-2833",
            "+2562533",
            "+12562533",
            "+8656696",
            "+86282452253",
            "sip:anonymous@anonymous.invalid",
            "SIP:Anonymous@192.0.2.1",
            "sips:unavailable@unknown.invalid;transport=tls",
            "sip:+266696687@carrier.example.com",
            "tel:+266696687",
        ] {
            assert_eq!(normalise(text), None, "{text}");
        }
    }

    /// E2: a fragment is unknown and not a number.
    #[test]
    fn a_fragment_is_no_number() {
        for text in ["+1", "+", "+1555", "+ 1-555", "+0 5555", "1", "12"] {
            assert_eq!(normalise(text), None, "{text}");
        }
    }
}
