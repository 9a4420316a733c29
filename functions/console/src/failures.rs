//! What failed: in groups, in a list, and the story of one.

use jiff::Timestamp;
use maud::{Markup, html};
use ringfence_core::console::{FailureFilter, Failures, ShownFailure};
use ringfence_vapi::OrgId;

use crate::layout::{Section, code, more, tag, time};
use crate::query::Query;

/// What a query asks for.
pub(crate) fn filter(query: &Query) -> FailureFilter {
    FailureFilter {
        code: query.text("code"),
        function: query.text("function"),
        state: query.text("state"),
        call_id: query.text("call_id"),
    }
}

pub(crate) fn list(
    org: OrgId,
    query: &Query,
    filter: &FailureFilter,
    shown: &Failures,
    notice: Option<&str>,
) -> Markup {
    let path = Section::Failures.path(org);
    let next = shown.next().map(|next| query.with(&path, "before", &next.to_string()));
    html! {
        @if let Some(notice) = notice { p.notice role="status" { (notice) } }
        h2 { "Groups" }
        @if shown.groups.is_empty() { p.good { "Nothing has failed that is not mended." } } @else {
            table.list {
                thead { tr { th { "Why" } th { "Function" } th { "State" } th.number { "Events" } th { "Since (UTC)" } th { "Latest (UTC)" } } }
                tbody {
                    @for group in &shown.groups {
                        @let chosen = Query::default().with(&path, "code", &group.code.to_string());
                        tr {
                            td data-label="Why" { (code(group.code)) }
                            td data-label="Function" { (group.function) }
                            td data-label="State" { (tag(&group.state)) }
                            td.number data-label="Events" { a href=(chosen) { (group.count) } }
                            td data-label="Since" { (time(group.since)) }
                            td data-label="Latest" { (time(group.latest)) }
                        }
                    }
                }
            }
        }
        h2 { "Failures" }
        form.filter method="get" {
            @for (name, title, value) in [("code", "Code", &filter.code), ("function", "Function", &filter.function), ("state", "State", &filter.state), ("call_id", "Call id", &filter.call_id)] {
                label { (title) input name=(name) value=[value]; }
            }
            button { "Choose" }
        }
        @if shown.is_truncated { p.note { "More than 10 000 are open. What is counted here is the latest of them." } }
        p { (shown.selected) " chosen, of which " (shown.dead) " are dead letters." }
        @if shown.dead > 0 && (filter.function.is_some() || filter.state.is_some()) {
            p.note { "Dead letters are sent back by code or by call: leave function and state empty." }
        } @else if shown.dead > 0 {
            form method="post" action={ (path) "/redrive" } {
                @for (name, value) in [("code", &filter.code), ("call_id", &filter.call_id)] {
                    @if let Some(value) = value { input type="hidden" name=(name) value=(value); }
                }
                @if filter.code.is_none() && filter.call_id.is_none() { input type="hidden" name="all" value="1"; }
                input type="hidden" name="before" value=(Timestamp::now());
                button.act { "Send " (shown.dead) " back to be tried again" }
            }
        }
        div #list {
            @if !shown.failures.is_empty() {
                table.list {
                    thead { tr { th { "Event" } th { "Why" } th { "State" } th.number { "Receives" } th { "Call" } th { "First (UTC)" } th { "Latest (UTC)" } } }
                    tbody {
                        @for failure in &shown.failures {
                            tr {
                                td data-label="Event" { a href=(Query::default().with(&format!("{path}/one"), "event_id", &failure.event_id)) { (failure.event_type) } }
                                td data-label="Why" { (code(failure.code)) }
                                td data-label="State" { (tag(&failure.state)) }
                                td.number data-label="Receives" { (failure.receives) }
                                td data-label="Call" { a.mono href={ (Section::Calls.path(org)) "/" (failure.vapi_call_id) } { (failure.vapi_call_id) } }
                                td data-label="First" { (time(failure.first_failed_at)) }
                                td data-label="Latest" { (time(failure.last_failed_at)) }
                            }
                        }
                    }
                }
            }
            (more(next.as_deref()))
        }
    }
}

pub(crate) fn show(org: OrgId, event_id: &str, shown: &ShownFailure) -> Markup {
    let path = Section::Failures.path(org);
    let row = |key: &str| shown.failure[key].as_str().unwrap_or_default().to_owned();
    html! {
        dl {
            dt { "State" } dd { (tag(&row("state"))) }
            dt { "Why" } dd { @if let Ok(failed) = row("code").parse() { (code(failed)) } }
            dt { "Function" } dd { (row("function")) }
            dt { "Event" } dd { code { (event_id) } }
            dt { "Call" } dd { a.mono href={ (Section::Calls.path(org)) "/" (row("vapi_call_id")) } { (row("vapi_call_id")) } }
            dt { "Received" } dd { (row("received_at")) }
        }
        h2 { "Attempts" }
        table.list {
            thead { tr { th { "When (UTC)" } th { "Who" } th { "Why" } th { "SQLSTATE" } th { "Constraint" } } }
            tbody {
                @for attempt in &shown.attempts {
                    tr {
                        td data-label="When" { (time(attempt.failed_at)) }
                        td data-label="Who" { (attempt.function) }
                        td data-label="Why" { (code(attempt.code)) }
                        td data-label="SQLSTATE" { (attempt.sqlstate.as_deref().unwrap_or_default()) }
                        td data-label="Constraint" { (attempt.constraint_name.as_deref().unwrap_or_default()) }
                    }
                }
            }
        }
        @if row("state") == "dead" && row("function") == "tool-calls" {
            h2 { "Settle it" }
            p.note { "Nobody knows whether the tool did it, and it is not sent again by itself. Once you know, close it here." }
            form method="post" action={ (path) "/settle" } {
                input type="hidden" name="event_id" value=(event_id);
                button.act { "It is settled" }
            }
        } @else if row("state") == "dead" {
            h2 { "Send it back" }
            form method="post" action={ (path) "/redrive" } {
                input type="hidden" name="event_id" value=(event_id);
                button.act { "Try it again" }
            }
        }
        h2 { "What it says" }
        @if let Some(event) = &shown.event {
            pre { (serde_json::to_string_pretty(event).unwrap_or_default()) }
            @if shown.is_masked {
                form method="post" action={ (path) "/unmask" } {
                    input type="hidden" name="event_id" value=(event_id);
                    button { "Show what is hidden" }
                }
                p.note { "It may be personal. That you looked is noted in the audit log." }
            }
        } @else { p.note { "It was applied: its call shows it." } }
    }
}
