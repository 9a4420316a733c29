//! The format of the event queues.

use ringfence_vapi::{EventKey, FailureCode};
use serde::{Deserialize, Serialize};

use crate::delivery::Delivery;

/// A message of an event queue. A new format is a new variant: messages of both formats wait in the queues while a
/// release is deployed.
///
/// `D` is [`Delivery`] in messages that are read, and may be a reference in messages that are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "v")]
pub enum Envelope<D = Box<Delivery>> {
    /// The delivery as JSON.
    #[serde(rename = "1")]
    Plain { delivery: D },
    /// The delivery as JSON, compressed with gzip, in base64.
    #[serde(rename = "1z")]
    Compressed { gzip: String },
    /// The key of the S3 object that holds one of the above.
    #[serde(rename = "1p")]
    Parked { parked: String },
}

/// Asks an event's function to park an event that is too large for a queue message: `{"park": {...}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkRequest {
    pub park: ParkedEvent,
}

/// The event to park.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedEvent {
    /// `{org or "platform"}/{call}`: the prefix under which erasure finds it.
    pub folder: String,
    /// The text of a [`Envelope::Compressed`].
    pub envelope: String,
    pub event_key: EventKey,
    /// Why the event has to wait. None: no attempt to apply it was made.
    #[serde(default)]
    pub code: Option<FailureCode>,
}

impl ParkRequest {
    /// Parks `delivery`, whose envelope is `envelope`.
    #[must_use]
    pub fn new(delivery: &Delivery, envelope: String, code: Option<FailureCode>) -> Self {
        let org = delivery.credential.org().map_or_else(|| "platform".to_owned(), |org| org.to_string());
        let folder = format!("{org}/{}", delivery.event.call().id);
        Self { park: ParkedEvent { folder, envelope, event_key: delivery.key.clone(), code } }
    }
}
