//! Where a call is transferred to.

use crate::object::Object;
use crate::sensitive::Sensitive;

/// A message's `destination` in a word: its number, its SIP URI or its assistant's name, by its type
/// (`TransferDestinationNumber`, `TransferDestinationSip`, `TransferDestinationAssistant`).
pub(super) fn read(message: &Object<'_>) -> Option<Sensitive<String>> {
    let destination = message.object("destination");
    destination
        .phone("destination.number")
        .or_else(|| destination.phone("destination.sipUri"))
        .or_else(|| destination.id("destination.assistantName").map(Sensitive::from))
}
