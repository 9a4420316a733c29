//! Erasure: deletes the rows of a call, or of all calls with a number, then the dead letters and the parked events. The
//! tombstones drop messages that are in progress.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::Timestamp;
use ringfence_core::admin::{Admin, DeadLetter};
use ringfence_protocol::admin::{Erasure, Selection, Target};
use ringfence_protocol::{Credential, ParkedKey};
use ringfence_runtime::{Parking, ParkingError};
use ringfence_vapi::{OrgId, contact_identifiers};

use crate::operations::Operations;
use crate::redrive::Manner;
use crate::{Administration, CommandError};

impl Administration {
    /// Erases, or (without `run`) counts. Whatever stops it half way, it may be run again.
    pub(crate) async fn erase(
        &self,
        actor: String,
        org_id: OrgId,
        target: &Target,
        run: bool,
    ) -> Result<Erasure, CommandError> {
        let admin = self.admin(actor).await?;
        let mut work = Work { admin: &admin, org_id, run, calls: BTreeSet::new(), erasure: Erasure::default() };
        match target {
            Target::Call(call_id) => work.erase_calls([call_id.clone()]).await?,
            Target::Chat(chat_id) => work.erase_chats([chat_id.clone()]).await?,
            Target::Number(number) => {
                let (identifiers, cut_off) = (contact_identifiers(number.expose()), Timestamp::now());
                let tombstones = self.masters.number_hasher().hashes(number.expose());
                // The tombstones first: they drop events that arrive during the erasure.
                if run {
                    admin.add_number_tombstones(org_id, &tombstones, cut_off).await?;
                }
                let calls = admin.calls_of_number(org_id, &identifiers, &tombstones, cut_off).await?;
                work.erase_calls(calls).await?;
                work.erase_chats(admin.chats_of_number(org_id, &tombstones, cut_off).await?).await?;
                // A message of an unknown type may name a number and no call.
                work.erasure.known.quarantined +=
                    admin.erase_quarantined_of_number(org_id, &tombstones, cut_off, run).await?;
                work.erasure.leads = admin.erase_lead(org_id, &identifiers, run).await?;
            }
        }
        if run {
            admin.take_turn_to_redrive().await?;
            work.erase_messages(&self.operations, matches!(target, Target::Number(_))).await?;
        }
        Ok(work.erasure)
    }
}

/// An erasure in progress.
struct Work<'a> {
    admin: &'a Admin,
    org_id: OrgId,
    run: bool,
    /// The erased calls.
    calls: BTreeSet<String>,
    erasure: Erasure,
}

impl Work<'_> {
    async fn erase_calls(&mut self, calls: impl IntoIterator<Item = String>) -> Result<(), CommandError> {
        for call_id in calls {
            self.erasure.known += self.admin.erase_call(self.org_id, &call_id, self.run).await?;
            self.calls.insert(call_id);
        }
        Ok(())
    }

    async fn erase_chats(&mut self, chats: impl IntoIterator<Item = String>) -> Result<(), CommandError> {
        for chat_id in chats {
            self.erasure.known += self.admin.erase_chat(self.org_id, &chat_id, self.run).await?;
        }
        Ok(())
    }

    /// Deletes dead letters, then parked events: a dead letter may name a parked event.
    async fn erase_messages(&mut self, operations: &Operations, is_number: bool) -> Result<(), CommandError> {
        let selection = Selection { org_id: Some(self.org_id), ..Selection::default() };
        let until = operations.deadline();
        loop {
            let manner = Manner { run: true, per_second: 1, before: Timestamp::now(), erasing: true };
            let pass = operations.pass(self.admin, &selection, manner);
            let (letters, mut found) = pass.erase(operations.queues()).await?;
            self.erasure.dead_letters += letters.redriven;
            self.erasure.more |= letters.more;
            for folder in self.folders(is_number) {
                self.erase_parked(operations.parking(), &folder, until, &mut found).await?;
            }
            // A call may be known from such a message only. Then it is erased as well, and its messages without a number
            // are found by the next pass.
            let new: Vec<String> = found.difference(&self.calls).cloned().collect();
            if new.is_empty() || Instant::now() > until {
                return Ok(());
            }
            self.erase_calls(new).await?;
        }
    }

    /// The prefixes of the objects that may have to be deleted. An object's key has no number, so all objects of the org
    /// are read for a number.
    fn folders(&self, is_number: bool) -> Vec<String> {
        let orgs = [Some(self.org_id), None];
        if is_number {
            return orgs.map(ParkedKey::folders).to_vec();
        }
        let calls = self.calls.iter();
        calls.flat_map(|call_id| orgs.map(|org_id| ParkedKey::folder(org_id, call_id) + "/")).collect()
    }

    /// Deletes the parked events of erased calls in a folder. `found` receives the calls.
    async fn erase_parked(
        &mut self,
        parking: &Parking,
        folder: &str,
        until: Instant,
        found: &mut BTreeSet<String>,
    ) -> Result<(), CommandError> {
        let mut after = None;
        loop {
            let keys = parking.keys(folder, after.as_deref()).await?;
            let Some(last) = keys.last().cloned() else { return Ok(()) };
            for key in keys {
                if Instant::now() > until {
                    self.erasure.more = true;
                    return Ok(());
                }
                if let Some(call_id) = self.erased_call(parking, &key).await? {
                    parking.delete(&key).await?;
                    self.erasure.parked += 1;
                    found.insert(call_id);
                }
            }
            after = Some(last);
        }
    }

    /// The call of a parked event, if it is erased.
    async fn erased_call(&self, parking: &Parking, key: &str) -> Result<Option<String>, CommandError> {
        let delivery = match parking.read(key).await {
            Ok(delivery) => delivery,
            Err(ParkingError::Unavailable) => return Err(ParkingError::Unavailable.into()),
            // Nobody can read this object. In the org's own folder, the call in the key decides.
            Err(_) => {
                let parsed = ParkedKey::parse(key);
                let own = parsed.filter(|key| key.org_id.is_some() && self.calls.contains(key.call_id));
                return Ok(own.map(|key| key.call_id.to_owned()));
            }
        };
        let is_from_platform = delivery.credential == Credential::Platform;
        if is_from_platform && !self.admin.may_concern_org(self.org_id, &delivery.event).await? {
            return Ok(None);
        }
        let letter = DeadLetter::Event(Box::new(delivery));
        if !self.admin.is_erased(self.org_id, &letter).await? {
            return Ok(None);
        }
        if is_from_platform {
            self.admin.route_erased_call(self.org_id, letter.call_id()).await?;
        }
        Ok(Some(letter.call_id().to_owned()))
    }
}
