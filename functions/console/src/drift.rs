//! The Drift page: message types and field names that the running version does not know.

use maud::{Markup, html};
use ringfence_core::drift::ShownDrift;

use crate::layout::time;

pub(crate) fn show(shown: &ShownDrift) -> Markup {
    html! {
        h2 { "Message types" }
        @if shown.types.is_empty() { p.good { "There are no messages of unknown types." } } @else {
            p.note { "Vapi has sent messages of types that this version does not know. They are stored, sealed, for 14 days. After an update, "
                code { "ringfence replay --quarantined --run" } " applies them." }
            table.list {
                thead { tr { th { "Type" } th.number { "Messages" } th { "First (UTC)" } th { "Latest (UTC)" } } }
                tbody {
                    @for found in &shown.types {
                        tr {
                            td.mono data-label="Type" { (found.message_type) }
                            td.number data-label="Messages" { (found.messages) }
                            td data-label="First" { (time(found.first)) }
                            td data-label="Latest" { (time(found.latest)) }
                        }
                    }
                }
            }
        }
        h2 { "Fields" }
        @if shown.fields.is_empty() { p.good { "There are no unknown fields." } } @else {
            p.note { "Fields of known types that this version does not know. Their values are not stored. The counts are lower bounds." }
            table.list {
                thead { tr { th { "Type" } th { "Field" } th.number { "Messages" } th { "First hour (UTC)" } th { "Latest hour (UTC)" } } }
                tbody {
                    @for found in &shown.fields {
                        tr {
                            td.mono data-label="Type" { (found.message_type) }
                            td.mono data-label="Field" { (found.field) }
                            td.number data-label="Messages" { (found.messages) }
                            td data-label="First hour" { (time(found.first)) }
                            td data-label="Latest hour" { (time(found.latest)) }
                        }
                    }
                }
            }
        }
    }
}
