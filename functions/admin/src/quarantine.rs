//! Reads quarantined messages for a replay. Only this function has the master keys, so only it can open them.

use ringfence_core::admin::replay::{QuarantinedMessage, ReadQuarantined, Reading};
use ringfence_identity::MasterKeys;
use ringfence_protocol::Credential;
use ringfence_vapi::{Message, parse};

/// Opens messages with the keys of all orgs.
pub(crate) struct Reader {
    pub(crate) masters: MasterKeys,
}

impl ReadQuarantined for Reader {
    fn read(&self, message: &QuarantinedMessage) -> Reading {
        let QuarantinedMessage { org_id, id, sealed, key_version, received_at } = message;
        let Some(body) = self.masters.message_sealer().open(*org_id, id, sealed) else { return Reading::Unreadable };
        let Ok(parsed) = parse(body.as_bytes(), *received_at) else { return Reading::Unreadable };
        let credential =
            key_version.map_or(Credential::Platform, |key_version| Credential::Org { org_id: *org_id, key_version });
        match parsed.message {
            Message::Unknown(_) => Reading::Unknown,
            Message::Stored(stored) => {
                let sealer = self.masters.delivery_sealer();
                Reading::Event(Box::new(sealer.delivery_of(credential, *received_at, stored)))
            }
            // The time to answer has passed.
            Message::Partial(_) | Message::Interactive(_) | Message::NotServed | Message::Informational => {
                Reading::NotStored
            }
        }
    }
}
