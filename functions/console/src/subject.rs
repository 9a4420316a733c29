//! The subjects of the audit log. A person may put a phone number into an address, by mistake or by a link from another
//! tool, so nothing of an address is written down but known names and ids.

use ringfence_vapi::VapiCallId;

use crate::layout::Section;
use crate::query::Query;

/// Maximum number of characters of a subject in the audit log.
const LONGEST_SUBJECT: usize = 200;
/// The names of the search fields and notices of all pages.
const NAMES: [&str; 17] = [
    "action", "actor", "agent", "before", "call_id", "code", "family", "function", "number", "period", "redriven",
    "replayed", "settled", "since", "state", "status", "until",
];

/// The page as the audit log names it. It has the names of the search fields and not their values, which may be phone
/// numbers. `None`: there is no such page.
pub(crate) fn of(rest: &[&str], query: &Query, form: &Query) -> Option<String> {
    let [section, more @ ..] = rest else { return None };
    let section = section.parse::<Section>().ok()?.segment();
    let event = query.text("event_id").or_else(|| form.text("event_id"));
    let mut subject = match (section, more, event) {
        ("calls", [call, ..], _) => format!("calls/{}", if is_call_id(call) { call } else { "(no id)" }),
        ("failures", [_, ..], Some(event)) => {
            format!("failures/{}", if is_event_key(&event) { event.as_str() } else { "(no id)" })
        }
        _ => section.to_owned(),
    };
    let names: Vec<&str> = query.names().filter(|name| NAMES.contains(name)).collect();
    if more.is_empty() && !names.is_empty() {
        subject = format!("{subject} by {}", names.join(", "));
    }
    Some(subject.chars().take(LONGEST_SUBJECT).collect())
}

/// Vapi's call ids are UUIDs. A text without a letter may be a phone number.
fn is_call_id(text: &str) -> bool {
    text.parse::<VapiCallId>().is_ok() && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// `{type}:{call}:...`, as all keys of events, recordings and tool calls.
pub(crate) fn is_event_key(text: &str) -> bool {
    let mut parts = text.split(':');
    let is_token = |part: &str| part.parse::<VapiCallId>().is_ok();
    parts.next().is_some_and(|kind| is_token(kind) && kind.starts_with(|first: char| first.is_ascii_lowercase()))
        && parts.next().is_some_and(is_call_id)
        && parts.all(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(rest: &[&str], query: &str) -> Option<String> {
        of(rest, &Query::read(query.as_bytes()), &Query::default())
    }

    /// E6: an address may hold a number where an id or a name belongs; the audit log does not.
    #[test]
    fn a_number_in_an_address_does_not_reach_the_audit_log() {
        for (rest, query, expected) in [
            (&["calls"][..], "number=%2B15555550142", "calls by number"),
            (&["calls"], "15555550142=x&until=2026-11-01&before=1", "calls by before, until"),
            (&["calls", "019d6b04-e541-7eaf-a178-c7f1eb9f217a"], "", "calls/019d6b04-e541-7eaf-a178-c7f1eb9f217a"),
            (&["calls", "15555550142"], "", "calls/(no id)"),
            (&["calls", "+15555550142", "replay"], "", "calls/(no id)"),
            (&["calls", "Sam Smith"], "", "calls/(no id)"),
            (&["failures", "one"], "event_id=hang:c1:ab12", "failures/hang:c1:ab12"),
            (&["failures", "one"], "event_id=%2B15555550142", "failures/(no id)"),
            (&["failures", "one"], "event_id=15555550142:15555550142", "failures/(no id)"),
            (&["failures", "one"], "event_id=hang:15555550142:ab", "failures/(no id)"),
        ] {
            assert_eq!(subject(rest, query).as_deref(), Some(expected), "{rest:?} {query}");
        }
        assert_eq!(subject(&["+15555550142"], ""), None);
    }
}
