//! A final `transcript`: what somebody said, once.

use ringfence_core::error::Failure;
use ringfence_core::{Database, Delivery, Outcome, events};
use ringfence_vapi::{Event, FailureCode};

/// Applies the event: called by the door while Vapi waits, and by this function for what had to wait in its queue.
pub async fn handle(database: &Database, delivery: &Delivery) -> Result<Outcome, Failure> {
    match delivery.event {
        Event::Transcript(_) => events::apply_transcript(database, delivery).await,
        // Somebody put it on the wrong queue; here it can never apply.
        _ => Err(FailureCode::EventUnreadable.into()),
    }
}
