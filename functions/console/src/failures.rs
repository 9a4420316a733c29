//! The list of open failures with their groups, and the page of one failure.

use jiff::Timestamp;
use maud::{Markup, html};
use ringfence_core::console::{FailureFilter, Failures, ShownFailure};
use ringfence_vapi::OrgId;

use crate::layout::{Section, code, more, tag, time};
use crate::query::Query;

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
        @if shown.groups.is_empty() { p.good { "There are no open failures." } } @else {
            table.list {
                thead { tr { th { "Code" } th { "Function" } th { "State" } th.number { "Events" } th { "First (UTC)" } th { "Latest (UTC)" } } }
                tbody {
                    @for group in &shown.groups {
                        @let chosen = Query::default().with(&path, "code", &group.code.to_string());
                        tr {
                            td data-label="Code" { (code(group.code)) }
                            td data-label="Function" { (group.function) }
                            td data-label="State" { (tag(&group.state)) }
                            td.number data-label="Events" { a href=(chosen) { (group.count) } }
                            td data-label="First" { (time(group.since)) }
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
            button { "Filter" }
        }
        @if shown.is_truncated { p.note { "There are more than 10 000 open failures. The counts are of the latest 10 000." } }
        p { (shown.selected) " failures match, of which " (shown.dead) " are dead letters." }
        @if shown.dead > 0 && (filter.function.is_some() || filter.state.is_some()) {
            p.note { "A redrive selects dead letters by code or by call. Clear Function and State to redrive." }
        } @else if shown.dead > 0 {
            form method="post" action={ (path) "/redrive" } {
                @for (name, value) in [("code", &filter.code), ("call_id", &filter.call_id)] {
                    @if let Some(value) = value { input type="hidden" name=(name) value=(value); }
                }
                @if filter.code.is_none() && filter.call_id.is_none() { input type="hidden" name="all" value="1"; }
                input type="hidden" name="before" value=(Timestamp::now());
                button.primary { "Redrive dead letters (" (shown.dead) ")" }
            }
        }
        div #list {
            @if !shown.failures.is_empty() {
                table.list {
                    thead { tr { th { "Event" } th { "Code" } th { "State" } th.number { "Receives" } th { "Call" } th { "First (UTC)" } th { "Latest (UTC)" } } }
                    tbody {
                        @for failure in &shown.failures {
                            tr {
                                td data-label="Event" { a href=(Query::default().with(&format!("{path}/one"), "event_id", &failure.event_id)) { (failure.event_type) } }
                                td data-label="Code" { (code(failure.code)) }
                                td data-label="State" { (tag(&failure.state)) @if failure.is_event_removed { " event removed" } }
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
            dt { "Code" } dd { @if let Ok(failed) = row("code").parse() { (code(failed)) } }
            dt { "Function" } dd { (row("function")) }
            dt { "Event" } dd { code { (event_id) } }
            dt { "Call" } dd { a.mono href={ (Section::Calls.path(org)) "/" (row("vapi_call_id")) } { (row("vapi_call_id")) } }
            dt { "Received" } dd { (row("received_at")) }
        }
        h2 { "Attempts" }
        table.list {
            thead { tr { th { "Time (UTC)" } th { "Function" } th { "Code" } th { "SQLSTATE" } th { "Constraint" } } }
            tbody {
                @for attempt in &shown.attempts {
                    tr {
                        td data-label="Time" { (time(attempt.failed_at)) }
                        td data-label="Function" { (attempt.function) }
                        td data-label="Code" { (code(attempt.code)) }
                        td data-label="SQLSTATE" { (attempt.sqlstate.as_deref().unwrap_or_default()) }
                        td data-label="Constraint" { (attempt.constraint_name.as_deref().unwrap_or_default()) }
                    }
                }
            }
        }
        @if row("state") == "dead" && row("function") == "tool-calls" {
            h2 { "Settle" }
            p.note { "The tool call was interrupted, and Ringfence does not repeat it. Find out whether the endpoint performed it, and then settle it here." }
            form method="post" action={ (path) "/settle" } {
                input type="hidden" name="event_id" value=(event_id);
                button.primary { "Settle this tool call" }
            }
        } @else if row("state") == "dead" && shown.event.is_some() {
            h2 { "Redrive" }
            form method="post" action={ (path) "/redrive" } {
                input type="hidden" name="event_id" value=(event_id);
                button.primary { "Redrive this event" }
            }
        }
        h2 { "Event" }
        @if let Some(event) = &shown.event {
            pre { (serde_json::to_string_pretty(event).unwrap_or_default()) }
            @if shown.is_masked {
                form method="post" action={ (path) "/unmask" } {
                    input type="hidden" name="event_id" value=(event_id);
                    button { "Unmask this event" }
                }
                p.note { "The hidden parts may be personal data. The audit log records who unmasks an event." }
            }
        } @else if row("state") == "resolved" {
            p.note { "The event has been applied. The page of its call shows it." }
        } @else {
            p.note { "The event was removed after the org's retention of events. It can be neither redriven nor replayed." }
        }
    }
}
