//! The page of all orgs and queues, for operators.

use maud::{Markup, html};
use ringfence_core::console::Organizations;

use crate::layout::{Section, time};

pub(crate) fn list(shown: &Organizations) -> Markup {
    html! {
        @if shown.unresolved_events > 0 {
            p.notice { (shown.unresolved_events) " unresolved events name no registered org, or two (RF5001, RF5002). Register their assistants or phone numbers." }
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
        @if shown.queues.is_empty() { p.note { "The maintenance job watch has not stored the depth of the queues yet." } } @else {
            table.list {
                thead { tr { th { "Queue" } th.number { "Waiting" } th.number { "In flight" } th { "Oldest event (UTC)" } th { "Updated (UTC)" } } }
                tbody {
                    @for queue in &shown.queues {
                        tr {
                            td data-label="Queue" { (queue.queue) }
                            td.number data-label="Waiting" { (queue.waiting) }
                            td.number data-label="In flight" { (queue.in_flight) }
                            td data-label="Oldest event" { @if let Some(oldest) = queue.oldest { (time(oldest)) } }
                            td data-label="Updated" { (time(queue.seen_at)) }
                        }
                    }
                }
            }
        }
    }
}
