//! The list of calls, and the page of one call.

use maud::{Markup, html};
use ringfence_core::console::{CallFilter, Calls, ListedCall, ShownCall, ShownRecording};
use ringfence_protocol::admin::Operation;
use ringfence_vapi::status::STATUSES;
use ringfence_vapi::{OrgId, ReasonFamily};
use serde_json::Value;
use strum::VariantNames as _;

use crate::layout::{Section, code, duration, more, tag, time};
use crate::operations;
use crate::query::{InvalidParameter, Query};

pub(crate) fn filter(query: &Query) -> Result<CallFilter, InvalidParameter> {
    Ok(CallFilter {
        call_id: query.text("call_id"),
        number: query.text("number"),
        status: query.text("status"),
        family: query.text("family"),
        since: query.time("since")?,
        until: query.time("until")?,
        is_open: None,
    })
}

pub(crate) fn list(org: OrgId, query: &Query, filter: &CallFilter, calls: &Calls) -> Markup {
    let next = calls.next.map(|next| query.with(&Section::Calls.path(org), "before", &next.to_string()));
    html! {
        form.filter method="get" {
            label { "Call id" input name="call_id" value=[&filter.call_id]; }
            label { "Number" input name="number" value=[&filter.number] placeholder="+15555550142" inputmode="tel"; }
            label { "Status" (choice("status", &STATUSES, filter.status.as_deref())) }
            label { "Reason family" (choice("family", ReasonFamily::VARIANTS, filter.family.as_deref())) }
            label { "Since (UTC)" input name="since" value=[filter.since.map(|at| at.to_string())] placeholder="2026-11-01T00:00:00Z"; }
            label { "Until (UTC)" input name="until" value=[filter.until.map(|at| at.to_string())]; }
            button { "Search" }
        }
        div #list {
            @if calls.calls.is_empty() && next.is_none() { p.note { "No calls." } } @else { (table(org, &calls.calls)) }
            (more(next.as_deref()))
        }
    }
}

fn choice(name: &str, values: &[&str], chosen: Option<&str>) -> Markup {
    html! {
        select name=(name) {
            option value="" { "any" }
            @for value in values { option value=(value) selected[chosen == Some(value)] { (value) } }
        }
    }
}

fn table(org: OrgId, calls: &[ListedCall]) -> Markup {
    html! {
        table.list {
            thead { tr { th { "Call" } th { "Status" } th { "From" } th { "To" } th { "First event (UTC)" } th.number { "Duration" } th { "Reason family" } th.number { "Cost" } } }
            tbody {
                @for call in calls {
                    tr {
                        td data-label="Call" { a.mono href={ (Section::Calls.path(org)) "/" (call.call_id) } { (call.call_id) } @if call.is_recorded { " " span aria-hidden="true" title="recorded" { "●" } span.hidden { "recorded" } } }
                        td data-label="Status" { (tag(&call.status)) }
                        td data-label="From" { (call.from_number.as_deref().unwrap_or_default()) }
                        td data-label="To" { (call.to_number.as_deref().unwrap_or_default()) }
                        td data-label="First event" { (time(call.created_at)) }
                        td.number data-label="Duration" { @if let Some(seconds) = call.duration_seconds { (duration(seconds)) } }
                        td data-label="Reason family" { (call.family.as_deref().unwrap_or_default()) }
                        td.number data-label="Cost" { @if let Some(cost) = call.cost { "$" (format!("{cost:.3}")) } }
                    }
                }
            }
        }
    }
}

pub(crate) fn show(
    org: OrgId,
    call_id: &str,
    shown: &ShownCall,
    notice: Option<&str>,
    operations: Option<&[Operation]>,
) -> Markup {
    let ShownCall { call, agent, lead, transcript, recordings, timeline } = shown;
    let path = format!("{}/{call_id}", Section::Calls.path(org));
    html! {
        @if let Some(notice) = notice { p.notice role="status" { (notice) } }
        (operations::table(operations))
        div.columns {
            div {
                dl {
                    dt { "Status" } dd { (tag(text(call, "status"))) }
                    @for (name, key) in [("Direction", "direction"), ("From", "from_number"), ("To", "to_number"), ("Ended reason", "ended_reason"),
                        ("Reason family", "outcome"), ("Success", "success_evaluation")] {
                        @if !text(call, key).is_empty() { dt { (name) } dd { (text(call, key)) } }
                    }
                    @for (name, key) in [("Started", "started_at"), ("Ended", "ended_at")] {
                        @if let Ok(at) = text(call, key).parse() { dt { (name) } dd { (time(at)) " UTC" } }
                    }
                    @if let Some(seconds) = call["duration_seconds"].as_i64() { dt { "Duration" } dd { (duration(seconds)) } }
                    @if let Some(cost) = call["cost"].as_f64() { dt { "Cost" } dd { "$" (cost) } }
                    @if let Some(agent) = agent { dt { "Agent" } dd { (agent) } }
                    @if let Some(lead) = lead { dt { "Lead" } dd { (lead.name.as_deref().unwrap_or(&lead.phone)) " " (tag(&lead.status)) } }
                }
                @if !text(call, "summary").is_empty() { h2 { "Summary" } p { (text(call, "summary")) } }
                h2 { "Transcript" }
                @if transcript.is_empty() { p.note { "The call has no transcript." } }
                ol.turns {
                    @for turn in transcript {
                        li { span.who { (turn.speaker) } (turn.text) @if let Some(at) = turn.said_at { " " small.note { (time(at)) } } }
                    }
                }
            }
            div {
                h2 { "Recordings" }
                @if recordings.is_empty() { p.note { "None." } }
                @for recording in recordings { (player(&path, recording)) }
                @if let Some(split) = call["cost_breakdown"].as_object() {
                    h2 { "Cost split" }
                    dl { @for (name, value) in split { @if let Some(amount) = value.as_f64() { dt { (name) } dd { (amount) } } } }
                }
                h2 { "Timeline" }
                ol.turns {
                    @for event in timeline {
                        li {
                            (time(event.at)) " " strong { (event.event_type) } " " (event.detail)
                            @if let Some(artifacts) = &event.debugging_artifacts {
                                " " span { "Vapi did not accept this inbound call:" }
                                pre { (serde_json::to_string_pretty(artifacts).unwrap_or_default()) }
                            }
                        }
                    }
                }
                form method="post" action={ (path) "/replay" } { button { "Replay this call's events" } }
                p.note { "A replay applies the effects of the retained events again. It does not change rows that are correct." }
            }
        }
    }
}

fn player(path: &str, recording: &ShownRecording) -> Markup {
    let source = format!("{path}/recordings/{}", recording.kind);
    html! {
        p {
            strong { (recording.kind) } " " (tag(&recording.state))
            @if let Some(failed) = recording.code { " " (code(failed)) }
        }
        // Without preload, because each request for a recording is audited.
        @if recording.state == "stored" && recording.kind == "video" { video controls preload="none" src=(source) aria-label={ "Recording, " (recording.kind) } {} }
        @else if recording.state == "stored" { audio controls preload="none" src=(source) aria-label={ "Recording, " (recording.kind) } {} }
    }
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}
