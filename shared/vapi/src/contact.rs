//! The identifiers of a person in a phone number or SIP URI, for erasure.

/// The canonical identifiers of a customer's number as Vapi writes it, each once. All spellings of a number have an
/// identifier in common: E.164 with or without the plus sign, with decoration, as a `tel:` URI (RFC 3966) and as the
/// user of a SIP URI (RFC 3261).
///
/// A number becomes E.164 (`+15555550142`). A SIP URI becomes `sip:{user}@{host}`; if the user is a number, the number
/// is a second identifier. Any other text identifies by itself, in lower case. Empty for an empty text.
#[must_use]
pub fn contact_identifiers(text: &str) -> Vec<String> {
    let text = text.trim().to_lowercase();
    let address = ["tel:", "sip:", "sips:"].iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(&text);
    if let Some((user, host)) = address.split_once('@') {
        return sip_identifiers(user, host);
    }
    let number = without_parameters(address);
    let identifier = international(number).unwrap_or_else(|| number.trim().to_owned());
    if identifier.is_empty() { Vec::new() } else { vec![identifier] }
}

/// A SIP URI without password, port, parameters and headers.
fn sip_identifiers(user: &str, host: &str) -> Vec<String> {
    let user = without_parameters(user).split(':').next().unwrap_or_default().replace("%2b", "+");
    let host = without_parameters(host);
    let host = match host.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    };
    let uri = format!("sip:{user}@{host}");
    international(&user).into_iter().chain([uri]).collect()
}

fn without_parameters(text: &str) -> &str {
    text.split([';', '?']).next().unwrap_or_default()
}

/// The number in E.164. Without a plus sign, 7 to 15 digits are taken for a number that begins with its country code;
/// fewer are an extension.
fn international(text: &str) -> Option<String> {
    let compact: String = text.chars().filter(|c| !c.is_whitespace() && !".-()[]/".contains(*c)).collect();
    let (digits, shortest) = match compact.strip_prefix('+').or_else(|| compact.strip_prefix("00")) {
        Some(digits) => (digits, 2),
        None => (compact.as_str(), 7),
    };
    let is_number = (shortest..=15).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0');
    is_number.then(|| format!("+{digits}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::contact_identifiers;

    /// E3: a person is found by each spelling of their number.
    #[test]
    fn all_spellings_of_a_number_have_an_identifier_in_common() {
        for text in [
            "+15555550142",
            "15555550142",
            "0015555550142",
            " +1 (555) 555-0142 ",
            "tel:+15555550142",
            "TEL:+1-555-555-0142;ext=7",
            "tel:15555550142",
            "sip:+15555550142",
            "sip:+15555550142@pbx.example.com",
            "sips:15555550142@pbx.example.com:5061;transport=tls",
            "SIP:%2B15555550142;cpc=ordinary@PBX.example.com;user=phone?Subject=x",
            "+15555550142@pbx.example.com",
        ] {
            assert_eq!(contact_identifiers(text)[0], "+15555550142", "{text}");
        }
    }

    #[test]
    fn a_sip_uri_identifies_by_user_and_host() {
        for text in
            ["sip:kim@pbx.example.com", "sips:Kim:secret@PBX.example.com:5061;transport=tls", "kim@pbx.example.com"]
        {
            assert_eq!(contact_identifiers(text), ["sip:kim@pbx.example.com"], "{text}");
        }
        assert_eq!(contact_identifiers("sip:+15555550142@pbx.example.com")[1], "sip:+15555550142@pbx.example.com");
        assert_eq!(contact_identifiers("sip:1001@pbx.example.com"), ["sip:1001@pbx.example.com"], "an extension");
        assert_eq!(contact_identifiers("sip:kim@[2001:db8::1]:5060"), ["sip:kim@[2001:db8::1]"]);
    }

    #[test]
    fn any_other_text_identifies_by_itself() {
        for (text, identifier) in
            [("Anonymous", "anonymous"), ("1001", "1001"), ("tel:1001", "1001"), ("05555550", "05555550")]
        {
            assert_eq!(contact_identifiers(text), [identifier]);
        }
        assert!(contact_identifiers("  ").is_empty() && contact_identifiers("tel:").is_empty());
    }

    proptest! {
        /// An identifier is stable: it identifies the same person as the text that it came from.
        #[test]
        fn an_identifier_identifies_itself(text in ".{0,40}") {
            for identifier in contact_identifiers(&text) {
                prop_assert!(contact_identifiers(&identifier).contains(&identifier), "{identifier}");
            }
        }
    }
}
