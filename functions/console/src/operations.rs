//! The redrives and replays of an org, with their progress.

use maud::{Markup, html};
use ringfence_protocol::admin::Operation;

use crate::layout::{tag, time};

pub(crate) fn table(operations: Option<&[Operation]>) -> Markup {
    let operations = operations.unwrap_or_default();
    html! {
        @if !operations.is_empty() {
            h2 { "Redrives and replays" }
            table.list {
                thead { tr { th { "Operation" } th { "State" } th.number { "Done" } th.number { "Failed" } th.number { "Remaining" } th { "Started by" } th { "Started (UTC)" } th { "Finished (UTC)" } } }
                tbody {
                    @for operation in operations {
                        tr {
                            td data-label="Operation" { (operation.kind) }
                            td data-label="State" { (tag(operation.state.into())) }
                            td.number data-label="Done" { (operation.done) }
                            td.number data-label="Failed" { (operation.failed) }
                            td.number data-label="Remaining" { @match operation.remaining { Some(remaining) => { (remaining) } None => { "unknown" } } }
                            td data-label="Started by" { (operation.actor) }
                            td data-label="Started" { (time(operation.created_at)) }
                            td data-label="Finished" { @if let Some(at) = operation.finished_at { (time(at)) } }
                        }
                    }
                }
            }
        }
    }
}
