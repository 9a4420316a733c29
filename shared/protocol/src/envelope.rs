//! The format of the event queues.

use ringfence_vapi::{EventKey, FailureCode, OrgId};
use serde::{Deserialize, Serialize};

use crate::delivery::Delivery;

/// Stands for the org in the key of a parked event from the platform URL.
const PLATFORM: &str = "platform";

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
    /// `{org or "platform"}/{call}`, as in [`ParkedKey`].
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
        let folder = ParkedKey::folder(delivery.credential.org(), delivery.event.call().id.as_str());
        Self { park: ParkedEvent { folder, envelope, event_key: delivery.key.clone(), code } }
    }
}

/// The key of a parked event's object: `{org or "platform"}/{call}/{uuid}`. Erasure finds the object by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParkedKey<'a> {
    /// None: the event came to the platform URL.
    pub org_id: Option<OrgId>,
    pub call_id: &'a str,
}

impl<'a> ParkedKey<'a> {
    /// None: `key` is no such key.
    #[must_use]
    pub fn parse(key: &'a str) -> Option<Self> {
        let (org, rest) = key.split_once('/')?;
        let (call_id, _) = rest.rsplit_once('/')?;
        let org_id = if org == PLATFORM { None } else { Some(org.parse().ok()?) };
        Some(Self { org_id, call_id })
    }

    /// The folder of a call's events, without the last slash.
    #[must_use]
    pub fn folder(org_id: Option<OrgId>, call_id: &str) -> String {
        format!("{}{call_id}", Self::folders(org_id))
    }

    /// The folder of the calls of an org, or of the calls from the platform URL, with the last slash.
    #[must_use]
    pub fn folders(org_id: Option<OrgId>) -> String {
        org_id.map_or_else(|| format!("{PLATFORM}/"), |org| format!("{org}/"))
    }
}

#[cfg(test)]
mod tests {
    use super::ParkedKey;

    #[test]
    fn a_key_names_the_org_and_the_call() {
        let org_id = "8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c01".parse().ok();
        for org_id in [None, org_id] {
            let key = format!("{}/1", ParkedKey::folder(org_id, "c1"));
            assert_eq!(ParkedKey::parse(&key), Some(ParkedKey { org_id, call_id: "c1" }));
        }
        for other in ["", "c1", "platform/1", "someone/c1/1"] {
            assert_eq!(ParkedKey::parse(other), None, "{other}");
        }
    }
}
