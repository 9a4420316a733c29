//! The pages of the runbook on failure codes, embedded in the binary.

use maud::{Markup, html};

/// Embeds the page of each failure code.
macro_rules! pages {
    ($($code:literal)*) => {
        [$(($code, include_str!(concat!("../../../docs/failure-codes/", $code, ".md")))),*]
    };
}

const PAGES: [(&str, &str); 47] = pages!(
    "RF1001" "RF1002" "RF1003" "RF1004" "RF1005" "RF1006"
    "RF2001" "RF2002" "RF2003" "RF2004" "RF2005" "RF2006"
    "RF3001" "RF3002" "RF3003"
    "RF4001" "RF4002" "RF4003" "RF4004" "RF4005" "RF4006" "RF4007"
    "RF5001" "RF5002"
    "RF6001"
    "RF7001" "RF7002" "RF7003" "RF7004" "RF7005" "RF7006" "RF7007" "RF7008" "RF7009" "RF7010" "RF7011"
    "RF8001" "RF8002" "RF8003" "RF8004" "RF8005" "RF8006" "RF8007"
    "RF9001" "RF9002" "RF9003" "RF9004"
);

/// The page of a code in Markdown.
pub(crate) fn find(code: &str) -> Option<&'static str> {
    PAGES.iter().find(|(named, _)| *named == code).map(|(_, text)| *text)
}

/// Renders a page of the runbook. It supports the Markdown that these pages use: headings, lists, paragraphs and code.
pub(crate) fn render(text: &str) -> Markup {
    html! {
        @for block in text.split("\n\n").flat_map(blocks) {
            @match kind(&block) {
                Kind::Title => {},
                Kind::Heading => h2 { (block.trim_start_matches('#').trim()) },
                Kind::Item => ul { @for item in block.lines() { li { (inline(item.trim_start_matches("- "))) } } },
                Kind::Text => p { (inline(block.trim())) },
            }
        }
    }
}

/// Splits a text into runs of lines of one kind.
fn blocks(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    lines.chunk_by(|one, next| kind(one) == kind(next)).map(<[&str]>::concat).collect()
}

#[derive(PartialEq, Eq)]
enum Kind {
    Title,
    Heading,
    Item,
    Text,
}

fn kind(line: &str) -> Kind {
    match line {
        line if line.starts_with("# ") => Kind::Title,
        line if line.starts_with("## ") => Kind::Heading,
        line if line.starts_with("- ") => Kind::Item,
        _ => Kind::Text,
    }
}

/// Text between backticks is code.
fn inline(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
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
