//! The live page: a card for each call in progress.

use maud::{Markup, html};
use ringfence_core::console::{Calls, ListedCall};
use ringfence_vapi::OrgId;

use crate::layout::{Section, asset};

pub(crate) fn show(org: OrgId, url: &str, open: &Calls) -> Markup {
    let calls = Section::Calls.path(org);
    html! {
        p { "Connection: " strong #state role="status" { "connecting" } " · " strong #count { (open.calls.len()) } span #more-calls { @if open.next.is_some() { "+" } } " calls in progress" }
        div #live data-url=(url) data-token={ "/console/" (org) "/live/token" } data-calls=(calls) {
            ul.cards #calls { @for call in &open.calls { (card(&calls, Some(call))) } }
        }
        template #call { (card(&calls, None)) }
        script type="module" src=(asset("live.js")) {}
    }
}

/// The card of a call. Without a call, the template from which the script makes the cards of new calls.
fn card(calls: &str, call: Option<&ListedCall>) -> Markup {
    let id = call.map_or("", |call| &call.call_id);
    let number = call.and_then(|call| match call.direction.as_deref() {
        Some("outbound") => call.to_number.as_deref(),
        _ => call.from_number.as_deref(),
    });
    html! {
        li id=[call.map(|_| format!("call-{id}"))] data-since=[call.map(|call| call.created_at)] {
            p { a.mono href={ (calls) "/" (id) } { (id) } }
            p { span.tag.wait.status { (call.map_or("", |call| &call.status)) } " " span.number { (number.unwrap_or_default()) } " " span.age.note {} }
            ol.turns.lines tabindex="0" aria-label="Conversation" {}
        }
    }
}
