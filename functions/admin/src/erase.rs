//! Erasure: a call, or all calls with a number, leave the rows, and the dead letters after them. What is on its way dies at the mark.

use jiff::Timestamp;
use ringfence_protocol::admin::{Erasure, Selection, Target};
use ringfence_vapi::OrgId;

use crate::redrive::{Manner, Redrive};
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
                let (marks, cut_off) = (self.masters.number_marks(number), Timestamp::now());
                // The mark first: what comes in meanwhile dies there.
                if run {
                    admin.mark_number(org_id, &marks, cut_off).await?;
                }
                for call_id in admin.calls_of_number(org_id, number, &marks, cut_off).await? {
                    erasure.known += admin.erase_call(org_id, &call_id, run).await?;
                }
                erasure.leads = admin.erase_lead(org_id, number, run).await?;
            }
        }
        if run {
            admin.take_turn_to_redrive().await?;
            let selection = Selection { org_id: Some(org_id), ..Selection::default() };
            let manner = Manner { run, per_second: 1, before: Timestamp::now(), erasing: true };
            let queues = self.queues.iter().chain([&self.recordings]);
            let swept = Redrive::new(&admin, &self.parking, &selection, manner).all(queues).await?;
            erasure.dead_letters = swept.redriven;
            erasure.more = swept.more;
        }
        Ok(erasure)
    }
}
