//! Redrive: what is in the dead-letter queues goes back to the retry queues it came from.
//!
//! Message by message, and not by SQS's own `StartMessageMoveTask`, so that a part can be chosen by what the events are.

use std::time::{Duration, Instant};

use ringfence_core::admin::{Admin, Selection};
use ringfence_core::{Credential, Delivery};
use ringfence_edge::Parking;
use ringfence_edge::parking::Unparked;
use ringfence_edge::queue::{FunctionQueues, QueueError, Received};
use ringfence_vapi::{FailureCode, OrgId};
use serde::{Deserialize, Serialize};

use crate::ActError;

/// How long messages are kept from everybody else while they are looked at. Longer than [`TIME_LIMIT`].
const HOLD: Duration = Duration::from_mins(12);
/// The function is stopped after 14 minutes.
const TIME_LIMIT: Duration = Duration::from_mins(10);

/// What was found in dead-letter queues and what was done with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redriven {
    /// Messages that the selection chose.
    pub selected: u64,
    /// Of these, those that went back to their retry queue.
    pub redriven: u64,
    /// Messages that are no event, or an event of no org that is known. They stay, whatever is selected.
    pub unknown: u64,
    /// There is more: the time was up.
    pub more: bool,
}

/// How to redrive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// False: count what would go back, and leave it where it is.
    pub(crate) run: bool,
    /// Messages in a second, at most.
    pub(crate) per_second: u32,
}

/// A pass over the dead letters of all functions.
pub(crate) struct Redrive<'a> {
    pub(crate) admin: &'a Admin,
    pub(crate) selection: &'a Selection,
    pub(crate) manner: Manner,
    parking: &'a Parking,
    began: Instant,
    found: Redriven,
}

impl<'a> Redrive<'a> {
    pub(crate) fn new(admin: &'a Admin, parking: &'a Parking, selection: &'a Selection, manner: Manner) -> Self {
        Self { admin, selection, manner, parking, began: Instant::now(), found: Redriven::default() }
    }

    /// Goes through the dead letters of each function.
    pub(crate) async fn all(mut self, queues: &[FunctionQueues]) -> Result<Redriven, ActError> {
        for queues in queues {
            let mut held = Vec::new();
            let result = self.one(queues, &mut held).await;
            // What stays is visible again at once, also after a failure. Should SQS refuse, it is after a while.
            for message in held {
                let _ = queues.dead_letters.postpone(&message.receipt_handle, Duration::ZERO).await;
            }
            result?;
        }
        Ok(self.found)
    }

    async fn one(&mut self, queues: &FunctionQueues, held: &mut Vec<Received>) -> Result<(), ActError> {
        loop {
            if self.began.elapsed() > TIME_LIMIT {
                self.found.more = true;
                return Ok(());
            }
            let batch = queues.dead_letters.receive(HOLD).await?;
            if batch.is_empty() {
                return Ok(());
            }
            let mut batch = batch.into_iter();
            while let Some(message) = batch.next() {
                match self.message(queues, &message).await {
                    Ok(true) => {}
                    Ok(false) => held.push(message),
                    Err(error) => {
                        held.push(message);
                        held.extend(batch);
                        return Err(error);
                    }
                }
            }
        }
    }

    /// False: the message stays.
    async fn message(&mut self, queues: &FunctionQueues, message: &Received) -> Result<bool, ActError> {
        let delivery = match self.parking.open(&message.body).await {
            Ok(Unparked { delivery, .. }) => delivery,
            Err(FailureCode::EventUnreadable) => {
                self.found.unknown += 1;
                return Ok(false);
            }
            Err(code) => return Err(QueueError(code).into()),
        };
        let Some(org_id) = self.org_of(&delivery).await? else {
            self.found.unknown += 1;
            return Ok(false);
        };
        if !self.selection.selects(&delivery, org_id, message.code) {
            return Ok(false);
        }
        self.found.selected += 1;
        if !self.manner.run {
            return Ok(false);
        }
        // Noted first, sent second, deleted last: whatever dies in between, the event is in one of the queues, or in both, where
        // one of the two is found to be a duplicate.
        self.admin.mark_redriven(org_id, delivery.key.as_str()).await?;
        let code = message.code.unwrap_or(FailureCode::StatementRefused);
        queues.retries.send_text(message.body.clone(), code).await?;
        queues.dead_letters.delete(&message.receipt_handle).await?;
        self.found.redriven += 1;
        let pace = Duration::from_secs(1) / self.manner.per_second.max(1);
        tokio::time::sleep(pace).await;
        Ok(true)
    }

    async fn org_of(&self, delivery: &Delivery) -> Result<Option<OrgId>, ActError> {
        match delivery.credential {
            Credential::Org { org_id, .. } => Ok(Some(org_id)),
            Credential::Platform => Ok(self.admin.find_org(&delivery.event).await?),
        }
    }
}
