//! The Numbers page: calls per hour, ended reasons, duration, cost, latency of webhooks, and failures.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use ringfence_core::numbers::{By, Hour, Numbers, Spread, Spreads};
use ringfence_vapi::{AgentId, FailureCode, OrgId};
use serde_json::json;

use crate::assets::{UPLOT, UPLOT_STYLE};
use crate::layout::{Section, asset, code, time};
use crate::query::{InvalidParameter, Query};

/// The periods that the filter offers: value, label, length in hours, and interval of the counts.
const PERIODS: [(&str, &str, i64, By); 3] =
    [("day", "24 hours", 24, By::Hour), ("week", "7 days", 7 * 24, By::Day), ("month", "30 days", 30 * 24, By::Day)];

/// The agent and the period of the page.
pub(crate) struct Chosen {
    pub(crate) agent: Option<AgentId>,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) by: By,
    period: &'static str,
}

/// Reads the filter. The default is all agents and a week.
pub(crate) fn chosen(query: &Query, now: Timestamp) -> Result<Chosen, InvalidParameter> {
    let asked = query.text("period").unwrap_or_else(|| "week".to_owned());
    let found = PERIODS.into_iter().find(|(name, ..)| *name == asked);
    let (period, _, hours, by) = found.ok_or(InvalidParameter("period"))?;
    // The current hour or day is part of the period.
    let length = if by == By::Hour { hours - 1 } else { hours - 24 };
    let since = now - SignedDuration::from_hours(length);
    Ok(Chosen { agent: query.parsed("agent")?, since, until: now, by, period })
}

pub(crate) fn show(org: OrgId, query: &Query, chosen: &Chosen, shown: &Numbers) -> Markup {
    let path = Section::Numbers.path(org);
    let calls: i64 = shown.hours.iter().map(|hour| hour.calls).sum();
    let connected: i64 = shown.hours.iter().map(|hour| hour.connected).sum();
    html! {
        form.filter method="get" {
            label { "Period" select name="period" {
                @for (name, title, ..) in PERIODS { option value=(name) selected[name == chosen.period] { (title) } }
            } }
            label { "Agent" select name="agent" {
                option value="" { "All" }
                @for agent in &shown.agents { option value=(agent.id) selected[Some(agent.id) == chosen.agent] { (agent.name) } }
            } }
            button { "Show" }
        }
        p { (calls) " calls, of which " (connected) " were answered." }
        (plot("Calls per hour", &["Calls", "Answered"], shown, |hour| vec![hour.calls, hour.connected]))
        h2 { "Ended reasons" }
        table.list {
            thead { tr { th { "Reason family" } th.number { "All calls" } th.number { "Answered" } } }
            tbody {
                @for family in &shown.families {
                    tr {
                        td data-label="Reason family" {
                            @if matches!(family.family.as_str(), "open" | "unknown") { (family.family) } @else {
                                a href=(Query::default().with(&Section::Calls.path(org), "family", &family.family)) { (family.family) }
                            }
                        }
                        td.number data-label="All calls" { (family.calls) }
                        td.number data-label="Answered" { (family.connected) }
                    }
                }
            }
        }
        h2 { "Duration and cost" }
        table.list {
            thead { tr { th { "Value" } th.number { "Calls" } th.number { "Median" } th.number { "p90" } th.number { "p99" } th.number { "Total" } } }
            tbody {
                (spreads("Seconds", &shown.durations, 0))
                (spreads("US dollars", &shown.costs, 4))
            }
        }
        h2 { "Webhooks" }
        p.note { "Of all agents, without duplicates. CloudWatch counts duplicates as the metric Duplicate." }
        table.list {
            thead { tr { th { "Latency (ms)" } th.number { "Events" } th.number { "Median" } th.number { "p90" } th.number { "p99" } } }
            tbody {
                @for (title, spread) in [("From Vapi to the webhook function", &shown.latencies.delivery_ms), ("From the webhook function to its rows", &shown.latencies.apply_ms)] {
                    @if let Some(spread) = spread {
                        tr {
                            td data-label="Latency (ms)" { (title) }
                            td.number data-label="Events" { (spread.calls) }
                            (percentiles(spread, 0))
                        }
                    }
                }
            }
        }
        table.list {
            thead { tr { th { "Type" } th.number { "Events" } } }
            tbody { @for named in &shown.types { tr { td data-label="Type" { (named.name) } td.number data-label="Events" { (named.events) } } } }
        }
        h2 { "Failures" }
        @if shown.failures.is_empty() { p.good { "There are no failures in this period." } } @else {
            p.note { "Of all agents. An event is counted when it first fails, and again when it becomes a dead letter." }
            (plot("Failures per hour", &["Failures"], shown, |hour| vec![hour.failures]))
            table.list {
                thead { tr { th { "Code" } th.number { "Events" } } }
                tbody {
                    @for named in &shown.failures {
                        tr {
                            td data-label="Code" { @match named.name.parse::<FailureCode>() { Ok(failed) => (code(failed)), Err(_) => (named.name) } }
                            td.number data-label="Events" { (named.events) }
                        }
                    }
                }
            }
        }
        @if chosen.agent.is_none() && !shown.agents.is_empty() {
            h2 { "Agents" }
            table.list {
                thead { tr { th { "Agent" } th.number { "All calls" } th.number { "Answered" } } }
                tbody {
                    @for agent in &shown.agents {
                        tr {
                            td data-label="Agent" { a href=(query.with(&path, "agent", &agent.id.to_string())) { (agent.name) } }
                            td.number data-label="All calls" { (agent.calls.unwrap_or_default()) }
                            td.number data-label="Answered" { (agent.connected) }
                        }
                    }
                }
            }
        }
        p.note { "A call is counted in the hour (UTC) of its first event, with a delay of some minutes. Percentiles leave out calls without a value. They are exact up to 1000 values and accurate to within 2 % above." }
        link rel="stylesheet" href=(asset(UPLOT_STYLE));
        script src=(asset(UPLOT)) defer {}
        script src=(asset("numbers.js")) defer {}
    }
}

/// A chart, and its values as a table.
fn plot(title: &str, names: &[&str], shown: &Numbers, values: impl Fn(&Hour) -> Vec<i64>) -> Markup {
    let rows: Vec<Vec<i64>> = shown.hours.iter().map(&values).collect();
    let hours: Vec<i64> = shown.hours.iter().map(|hour| hour.hour.as_second()).collect();
    html! {
        figure.plot data-plot=(json!({"names": names, "hours": hours, "rows": rows}).to_string()) {
            figcaption { (title) }
            details {
                summary { "As a table" }
                table {
                    thead { tr { th { "Hour (UTC)" } @for name in names { th.number { (name) } } } }
                    tbody {
                        @for (hour, row) in shown.hours.iter().zip(&rows).filter(|(_, row)| row.iter().any(|value| *value > 0)) {
                            tr { td { (time(hour.hour)) } @for value in row { td.number { (value) } } }
                        }
                    }
                }
            }
        }
    }
}

fn spreads(title: &str, spreads: &Spreads, digits: usize) -> Markup {
    html! {
        @for (of, spread) in [("all calls", &spreads.all), ("answered", &spreads.connected)] {
            @if let Some(spread) = spread {
                tr {
                    td data-label="Value" { (title) ", " (of) }
                    td.number data-label="Calls" { (spread.calls) }
                    (percentiles(spread, digits))
                    td.number data-label="Total" { @if let Some(total) = spread.total { (format!("{total:.*}", digits.min(2))) } }
                }
            }
        }
    }
}

fn percentiles(spread: &Spread, digits: usize) -> Markup {
    html! {
        @for (name, value) in [("Median", spread.p50), ("p90", spread.p90), ("p99", spread.p99)] {
            td.number data-label=(name) { (format!("{value:.digits$}")) }
        }
    }
}
