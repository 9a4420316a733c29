//! `status-update` of any status but `ended`: a call begins or goes on. Also the events that only mark a call's timeline
//! while it lives (`assistant.started`, `hang`, `user-interrupted`, `transfer-update`, `language-change-detected`).

use ringfence_core::error::Failure;
use ringfence_core::{Database, Delivery, Outcome, events};
use ringfence_vapi::{Event, FailureCode};

/// Applies the event: called by the door while Vapi waits, and by this function for what had to wait in its queue.
pub async fn handle(database: &Database, delivery: &Delivery) -> Result<Outcome, Failure> {
    match delivery.event {
        Event::CallStarted(_) => events::apply_call_started(database, delivery).await,
        Event::CallEvent(_) => events::apply_call_event(database, delivery).await,
        // Somebody put it on the wrong queue; here it can never apply.
        _ => Err(FailureCode::EventUnreadable.into()),
    }
}
