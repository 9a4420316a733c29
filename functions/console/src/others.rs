//! The smaller pages: who did what, the orgs, what happens now, the codes, and the way in.

use lambda_http::http::StatusCode;
use maud::{Markup, html};
use ringfence_core::console::{Audit, AuditFilter, Calls, ListedCall, Organizations};
use ringfence_vapi::OrgId;

use crate::layout::{Section, asset, more, time};
use crate::query::Query;

/// What a query asks for of the audit log.
pub(crate) fn audit_filter(query: &Query) -> AuditFilter {
    AuditFilter { actor: query.text("actor"), action: query.text("action") }
}

pub(crate) fn audit(org: OrgId, query: &Query, filter: &AuditFilter, audit: &Audit) -> Markup {
    let next = audit.next.map(|next| query.with(&Section::Audit.path(org), "before", &next.to_string()));
    html! {
        form.filter method="get" {
            label { "Who" input name="actor" value=[&filter.actor]; }
            label { "What" input name="action" value=[&filter.action] placeholder="event.redrive"; }
            button { "Choose" }
        }
        div #list {
            table.list {
                thead { tr { th { "When (UTC)" } th { "Who" } th { "What" } th { "Of what" } th { "More" } } }
                tbody {
                    @for act in &audit.entries {
                        tr {
                            td data-label="When" { (time(act.at)) }
                            td data-label="Who" { (act.actor) }
                            td data-label="What" { (act.action) }
                            td.mono data-label="Of what" { (act.subject) }
                            td.mono data-label="More" { @if act.detail.as_object().is_some_and(|detail| !detail.is_empty()) { (act.detail) } }
                        }
                    }
                }
            }
            (more(next.as_deref()))
        }
    }
}

pub(crate) fn organizations(shown: &Organizations) -> Markup {
    html! {
        @if shown.unresolved_events > 0 {
            p.notice { (shown.unresolved_events) " events name no org that is known (RF5001, RF5002): register their assistants or numbers." }
        }
        table.list {
            thead { tr { th { "Org" } th { "Id" } th.number { "Open failures" } } }
            tbody {
                @for org in &shown.organizations {
                    tr {
                        td data-label="Org" { a href=(Section::Failures.path(org.id)) { (org.name) } }
                        td.mono data-label="Id" { (org.id) }
                        td.number data-label="Open failures" { (org.open_failures) @if org.open_failures == 1000 { "+" } }
                    }
                }
            }
        }
        h2 { "Queues" }
        @if shown.queues.is_empty() { p.note { "Maintenance has not looked yet." } } @else {
            table.list {
                thead { tr { th { "Queue" } th.number { "Waiting" } th.number { "Being tried" } th { "Oldest since (UTC)" } th { "Seen (UTC)" } } }
                tbody {
                    @for queue in &shown.queues {
                        tr {
                            td data-label="Queue" { (queue.queue) }
                            td.number data-label="Waiting" { (queue.waiting) }
                            td.number data-label="Being tried" { (queue.in_flight) }
                            td data-label="Oldest" { @if let Some(oldest) = queue.oldest { (time(oldest)) } }
                            td data-label="Seen" { (time(queue.seen_at)) }
                        }
                    }
                }
            }
        }
    }
}

pub(crate) fn live(org: OrgId, url: &str, open: &Calls) -> Markup {
    let calls = Section::Calls.path(org);
    html! {
        p { "Connection: " strong #state role="status" { "connecting" } " · " strong #count { (open.calls.len()) } span #more-calls { @if open.next.is_some() { "+" } } " calls now" }
        div #live data-url=(url) data-token={ "/console/" (org) "/live/token" } data-calls=(calls) {
            ul.cards #calls { @for call in &open.calls { (card(&calls, Some(call))) } }
        }
        template #call { (card(&calls, None)) }
        script type="module" src=(asset("live.js")) {}
    }
}

/// A call on the live page: one that is known already, or the form of those that come.
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
            ol.turns.lines tabindex="0" aria-label="What is said" {}
        }
    }
}

pub(crate) fn sign_in(is_wrong: bool) -> Markup {
    html! {
        @if is_wrong { p.notice role="alert" { "That token opens nothing: it is none, or its time is over." } }
        form.filter method="post" action="/console/session" {
            label { "Token" input name="token" type="password" autocomplete="off" required; }
            button.act { "Sign in" }
        }
        p.note { "A token, and a link that carries one, is made by " code { "cargo ringfence console" } "." }
        script type="module" src=(asset("sign-in.js")) {}
    }
}

pub(crate) fn missing(status: StatusCode, detail: &str) -> Markup {
    html! {
        @if status == StatusCode::NOT_FOUND { p { "There is no such page, or it is not yours." } } @else { p { (detail) } }
        p { a href="/console" { "To the beginning" } }
    }
}

/// A page of the runbook, of which few of Markdown's forms are used: headings, lists, paragraphs and code.
pub(crate) fn runbook(text: &str) -> Markup {
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

/// Lines of one kind that stand together.
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

/// Every second part between backticks is code.
fn inline(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}
