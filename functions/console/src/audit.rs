//! The page of the audit log.

use maud::{Markup, html};
use ringfence_core::console::{Audit, AuditFilter};
use ringfence_vapi::OrgId;

use crate::layout::{Section, more, time};
use crate::query::Query;

pub(crate) fn filter(query: &Query) -> AuditFilter {
    AuditFilter { actor: query.text("actor"), action: query.text("action") }
}

pub(crate) fn list(org: OrgId, query: &Query, filter: &AuditFilter, audit: &Audit) -> Markup {
    let next = audit.next.map(|next| query.with(&Section::Audit.path(org), "before", &next.to_string()));
    html! {
        form.filter method="get" {
            label { "Actor" input name="actor" value=[&filter.actor]; }
            label { "Action" input name="action" value=[&filter.action] placeholder="event.redrive"; }
            button { "Filter" }
        }
        div #list {
            table.list {
                thead { tr { th { "Time (UTC)" } th { "Actor" } th { "Action" } th { "Subject" } th { "Detail" } } }
                tbody {
                    @for entry in &audit.entries {
                        tr {
                            td data-label="Time" { (time(entry.at)) }
                            td data-label="Actor" { (entry.actor) }
                            td data-label="Action" { (entry.action) }
                            td.mono data-label="Subject" { (entry.subject) }
                            td.mono data-label="Detail" { @if entry.detail.as_object().is_some_and(|detail| !detail.is_empty()) { (entry.detail) } }
                        }
                    }
                }
            }
            (more(next.as_deref()))
        }
    }
}
