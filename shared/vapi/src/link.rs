//! Links to recordings.

/// The part of a recording's link that is the same in every delivery: an https URL without query and fragment.
///
/// A presigned link has its signature in the query and differs in each delivery, so it is not a fact and is not
/// stored. `None` if the text is not a plain https link.
pub(crate) fn stable(link: &str) -> Option<String> {
    const MAX: usize = 2048;
    let stable = link.split(['?', '#']).next()?;
    let host = stable.strip_prefix("https://")?.split('/').next()?;
    // Text before an @ could be a credential, or could hide the real host.
    let plain = !host.is_empty() && !host.contains('@') && stable.bytes().all(is_plain) && stable.len() <= MAX;
    plain.then(|| stable.to_owned())
}

/// A complete link, for fetching the recording. The function that fetches it checks the host.
pub(crate) fn usable(link: &str) -> Option<String> {
    const MAX: usize = 4096;
    let is_link = link.starts_with("https://") || link.starts_with("http://");
    (is_link && link.len() <= MAX && link.bytes().all(is_plain)).then(|| link.to_owned())
}

/// Excludes the backslash: some parsers read it as a slash and then see another host.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use super::{stable, usable};

    #[test]
    fn the_signature_of_a_link_is_cut_off() {
        let plain = "https://storage.example/a/b-mono.wav";
        for link in [plain, &format!("{plain}?X-Amz-Signature=1"), &format!("{plain}#t=1?x")] {
            assert_eq!(stable(link).as_deref(), Some(plain), "{link}");
        }
    }

    #[test]
    fn a_link_that_is_not_plain_https_is_refused() {
        for link in [
            "",
            "https://",
            "https:///a",
            "http://storage.example/a",
            "ftp://storage.example/a",
            "https://user:pass@storage.example/a",
            "https://storage.example\\@evil.example/a",
            "https://storage.example/a b",
            "javascript:alert(1)",
        ] {
            assert_eq!(stable(link), None, "{link}");
        }
        assert_eq!(stable(&format!("https://storage.example/{}", "a".repeat(2048))), None);
    }
    #[test]
    fn a_link_to_fetch_by_keeps_its_signature() {
        let link = "https://storage.example/a/b-mono.wav?X-Amz-Signature=1";
        assert_eq!(usable(link).as_deref(), Some(link));
        for link in ["", "javascript:alert(1)", "file:///etc/passwd", "https://storage.example/a b"] {
            assert_eq!(usable(link), None, "{link}");
        }
        assert_eq!(usable(&format!("https://storage.example/{}", "a".repeat(4096))), None);
    }
}
