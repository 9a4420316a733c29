//! The runbook's pages on failure codes, as this release has them.

/// A page for each number.
macro_rules! pages {
    ($($code:literal)*) => {
        [$(($code, include_str!(concat!("../../../docs/failure-codes/", $code, ".md")))),*]
    };
}

const PAGES: [(&str, &str); 45] = pages!(
    "RF1001" "RF1002" "RF1003" "RF1004" "RF1005" "RF1006"
    "RF2001" "RF2002" "RF2003" "RF2004" "RF2005" "RF2006"
    "RF3001" "RF3002" "RF3003"
    "RF4001" "RF4002" "RF4003" "RF4004" "RF4005" "RF4006"
    "RF5001" "RF5002"
    "RF6001"
    "RF7001" "RF7002" "RF7003" "RF7004" "RF7005" "RF7006" "RF7007" "RF7008" "RF7009" "RF7010"
    "RF8001" "RF8002" "RF8003" "RF8004" "RF8005" "RF8006" "RF8007"
    "RF9001" "RF9002" "RF9003" "RF9004"
);

/// The page of a code, in Markdown.
pub(crate) fn find(code: &str) -> Option<&'static str> {
    PAGES.iter().find(|(named, _)| *named == code).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use ringfence_vapi::FailureCode;
    use strum::IntoEnumIterator as _;

    use super::*;

    #[test]
    fn every_code_has_its_page() {
        let codes: Vec<_> = FailureCode::iter().map(|code| code.to_string()).collect();
        assert_eq!(PAGES.map(|(code, _)| code).as_slice(), codes);
    }
}
