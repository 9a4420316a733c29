//! Erasure: deletes the rows of a call, or of all calls with a number, then the dead letters. The tombstones drop
//! messages that are in progress.

use jiff::Timestamp;
use ringfence_protocol::admin::{Erasure, Selection, Target};
use ringfence_vapi::OrgId;

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
        let mut erasure = Erasure::default();
        match target {
            Target::Call(call_id) => erasure.known = admin.erase_call(org_id, call_id, run).await?,
            Target::Number(number) => {
                let number = number.expose().as_str();
                let (tombstones, cut_off) = (self.masters.number_hasher().hashes(number), Timestamp::now());
                // The tombstones first: they drop events that arrive during the erasure.
                if run {
                    admin.add_number_tombstones(org_id, &tombstones, cut_off).await?;
                }
                for call_id in admin.calls_of_number(org_id, number, &tombstones, cut_off).await? {
                    erasure.known += admin.erase_call(org_id, &call_id, run).await?;
                }
                // A message of an unknown type may name a number and no call.
                erasure.known.quarantined +=
                    admin.erase_quarantined_of_number(org_id, &tombstones, cut_off, run).await?;
                erasure.leads = admin.erase_lead(org_id, number, run).await?;
            }
        }
        if run {
            admin.take_turn_to_redrive().await?;
            let selection = Selection { org_id: Some(org_id), ..Selection::default() };
            let manner = Manner { run, per_second: 1, before: Timestamp::now(), erasing: true };
            let swept = self.operations.pass(&admin, &selection, manner).all(self.operations.queues()).await?;
            erasure.dead_letters = swept.redriven;
            erasure.more = swept.more;
        }
        Ok(erasure)
    }
}
