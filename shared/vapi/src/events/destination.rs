//! The destination of a transfer.

use crate::object::Object;
use crate::sensitive::Sensitive;

/// A message's `destination` as text: the number, the SIP URI or the name of the assistant, depending on its type
/// (`TransferDestinationNumber`, `TransferDestinationSip`, `TransferDestinationAssistant`).
pub(super) fn read(message: &Object<'_>) -> Option<Sensitive<String>> {
    let destination = message.object("destination");
    destination
        .phone("destination.number")
        .or_else(|| destination.phone("destination.sipUri"))
        .or_else(|| destination.id("destination.assistantName").map(Sensitive::from))
}
