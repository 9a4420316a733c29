//! Event keys, which depend only on an event's facts.

use super::Event;
use crate::fingerprint::Fingerprint;
use crate::ids::EventKey;

/// The key of an event. The time of receipt and the recording links differ between deliveries and are not facts, so a
/// redelivery has the same key.
pub(super) fn of(event: &Event) -> EventKey {
    let event_type = event.event_type();
    let call = &event.call().id;
    let hash = hash(event);
    EventKey::new(match status(event) {
        Some(status) => format!("{event_type}:{call}:{status}:{hash}"),
        None => format!("{event_type}:{call}:{hash}"),
    })
}

fn status(event: &Event) -> Option<&str> {
    match event {
        Event::CallStarted(update) | Event::CallEnded(update) => Some(&update.status),
        Event::CallEvent(event) => event.detail.status.as_deref(),
        Event::Transcript(_) | Event::EndOfCallReport(_) => None,
    }
}

fn hash(event: &Event) -> String {
    let mut fingerprint = Fingerprint::new();
    match event {
        Event::CallStarted(update) | Event::CallEnded(update) => update.feed(&mut fingerprint),
        Event::CallEvent(event) => event.feed(&mut fingerprint),
        Event::Transcript(transcript) => return transcript.content_sha256.clone(),
        Event::EndOfCallReport(report) => report.feed(&mut fingerprint),
    }
    fingerprint.finish()
}
