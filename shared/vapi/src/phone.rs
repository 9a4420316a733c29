//! Phone numbers.

/// The number in E.164, if it is one without its spaces, dots, dashes and brackets. Otherwise the trimmed text.
///
/// No country code is added: a national number and a SIP URI stay unchanged.
pub(crate) fn normalise(text: &str) -> String {
    let compact: String = text.chars().filter(|&c| !is_decoration(c)).collect();
    if is_e164(&compact) { compact } else { text.trim().to_owned() }
}

fn is_decoration(c: char) -> bool {
    c.is_whitespace() || matches!(c, '.' | '-' | '(' | ')' | '[' | ']')
}

/// A plus sign and 2 to 15 digits, of which the first is not 0.
fn is_e164(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else { return false };
    (2..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0')
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn a_decorated_number_becomes_e164() {
        for number in ["+15555550142", "+1 (555) 555-0142", "+1.555.555.0142", " +1[555]5550142 ", "+1\u{a0}5555550142"]
        {
            assert_eq!(normalise(number), "+15555550142", "{number}");
        }
    }

    #[test]
    fn anything_else_stays_as_it_is() {
        for text in ["(555) 555-0142", "sip:sam-1@pbx.example.com", "anonymous", "+0 5555", "+1234567890123456", "+1x5"]
        {
            assert_eq!(normalise(text), text);
        }
        assert_eq!(normalise("  "), "");
    }
}
