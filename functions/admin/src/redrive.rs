//! Redrive: what is in the dead-letter queues goes back to the retry queues it came from.
//!
//! Message by message, and not by SQS's own `StartMessageMoveTask`, so that a part can be chosen by what the events are.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use ringfence_aws::queue::Received;
use ringfence_core::admin::operations::{Lease, Progress};
use ringfence_core::admin::{Admin, DeadLetter};
use ringfence_protocol::Credential;
use ringfence_protocol::admin::{DeadLetters, Selection};
use ringfence_runtime::{FunctionQueues, Parking, recordings};
use ringfence_vapi::OrgId;

use crate::CommandError;

/// How long messages are kept from everybody else while they are looked at. Longer than [`WORK_LIMIT`] and what is left to do then.
const HOLD: Duration = Duration::from_mins(12);
/// One invocation works no longer on redrives and replays. Under the timeout of both functions, so that it can still say how far it came.
pub(crate) const WORK_LIMIT: Duration = Duration::from_mins(4);
/// SQS itself lets no more be held of one queue.
const MAX_HELD: usize = 100_000;

/// How to redrive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// False: count what would go back, and leave it where it is.
    pub(crate) run: bool,
    /// Messages in a second, at most.
    pub(crate) per_second: u32,
    /// Leave what became a dead letter later.
    pub(crate) before: Timestamp,
    /// What was erased is taken out, and nothing is sent back.
    pub(crate) erasing: bool,
}

impl Manner {
    /// Back to where they came from.
    pub(crate) const fn back(run: bool, per_second: u32, before: Timestamp) -> Self {
        Self { run, per_second, before, erasing: false }
    }
}

/// A pass over the dead letters of all functions.
pub(crate) struct Redrive<'a> {
    pub(crate) admin: &'a Admin,
    pub(crate) selection: &'a Selection,
    pub(crate) manner: Manner,
    parking: &'a Parking,
    until: Instant,
    /// Of an operation: the right to redrive, which each message renews.
    lease: Option<Lease>,
    lease_lost: bool,
    found: DeadLetters,
}

impl<'a> Redrive<'a> {
    pub(crate) fn new(
        admin: &'a Admin,
        parking: &'a Parking,
        selection: &'a Selection,
        manner: Manner,
        until: Instant,
    ) -> Self {
        let found = DeadLetters { before: manner.before, selected: 0, redriven: 0, unknown: 0, more: false };
        Self { admin, selection, manner, parking, until, lease: None, lease_lost: false, found }
    }

    /// Reports the progress of an operation, and stops when another invocation has taken it over.
    pub(crate) fn of_operation(self, lease: Lease) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// Goes through the dead letters of each function.
    pub(crate) async fn all(
        mut self,
        queues: impl Iterator<Item = &FunctionQueues>,
    ) -> Result<DeadLetters, CommandError> {
        for queues in queues {
            // Time does not end a pass between two queues: each is asked once, or an operation might never see the last one empty.
            if self.lease_lost {
                self.found.more = true;
                break;
            }
            let mut held = Vec::new();
            let result = self.one(queues, &mut held).await;
            // What stays is visible again at once, also after a failure.
            queues.dead_letters.release(&held).await;
            result?;
        }
        Ok(self.found)
    }

    /// `held`: the receipt handles of what stays.
    async fn one(&mut self, queues: &FunctionQueues, held: &mut Vec<String>) -> Result<(), CommandError> {
        loop {
            let batch = queues.dead_letters.receive(HOLD).await?;
            self.advance(0).await?;
            if batch.is_empty() {
                return Ok(());
            }
            let mut batch = batch.into_iter();
            while let Some(message) = batch.next() {
                if self.is_over() {
                    held.push(message.receipt_handle);
                    continue;
                }
                match self.message(queues, &message).await {
                    Ok(true) => {}
                    Ok(false) => held.push(message.receipt_handle),
                    Err(error) => {
                        held.push(message.receipt_handle);
                        held.extend(batch.map(|message| message.receipt_handle));
                        return Err(error);
                    }
                }
            }
            if self.is_over() || held.len() > MAX_HELD {
                self.found.more = true;
                return Ok(());
            }
        }
    }

    fn is_over(&self) -> bool {
        self.lease_lost || Instant::now() > self.until
    }

    async fn advance(&mut self, redriven: u64) -> Result<(), CommandError> {
        if let Some(lease) = self.lease {
            let progress = Progress { done: redriven, seen: redriven, ..Progress::default() };
            self.lease_lost = !self.admin.advance_operation(lease, progress).await?;
        }
        Ok(())
    }

    /// False: the message stays.
    async fn message(&mut self, queues: &FunctionQueues, message: &Received) -> Result<bool, CommandError> {
        if message.sent_at.is_some_and(|sent_at| sent_at > self.manner.before) {
            return Ok(false);
        }
        // One that cannot be read, for whatever reason, stops no other.
        let letter = self.open(message).await;
        let org_id = match &letter {
            Some(letter) => self.org_of(letter).await?,
            None => None,
        };
        let Some((letter, org_id)) = letter.zip(org_id) else {
            self.found.unknown += 1;
            return Ok(false);
        };
        if !self.admin.selects(self.selection, &letter, org_id, message.code).await? {
            return Ok(false);
        }
        if self.manner.erasing && !self.admin.is_erased(org_id, &letter).await? {
            return Ok(false);
        }
        self.found.selected += 1;
        if !self.manner.run {
            return Ok(false);
        }
        if self.manner.erasing {
            queues.dead_letters.delete(&message.receipt_handle).await?;
            self.found.redriven += 1;
            return Ok(true);
        }
        self.send_back(queues, message, org_id, &letter).await?;
        self.found.redriven += 1;
        self.advance(1).await?;
        let pace = Duration::from_secs(1) / self.manner.per_second.max(1);
        tokio::time::sleep(pace).await;
        Ok(true)
    }

    /// Noted first, sent second, deleted last: whatever dies in between, the event is in one of the queues, or in both, where one of
    /// the two is found to be a duplicate.
    async fn send_back(
        &self,
        queues: &FunctionQueues,
        message: &Received,
        org_id: OrgId,
        letter: &DeadLetter,
    ) -> Result<(), CommandError> {
        self.admin.mark_redriven(org_id, letter).await?;
        if let Err(error) = queues.retries.send_text(message.body.clone(), message.code).await {
            self.admin.unmark_redriven(org_id, letter).await?;
            return Err(error.into());
        }
        Ok(queues.dead_letters.delete(&message.receipt_handle).await?)
    }

    async fn open(&self, message: &Received) -> Option<DeadLetter> {
        if let Ok(recording) = recordings::read(&message.body) {
            return Some(DeadLetter::Recording { recording, died_at: message.sent_at.unwrap_or_else(Timestamp::now) });
        }
        self.parking.open(&message.body).await.ok().map(|delivery| DeadLetter::Event(Box::new(delivery)))
    }

    async fn org_of(&self, letter: &DeadLetter) -> Result<Option<OrgId>, CommandError> {
        match letter {
            DeadLetter::Recording { recording, .. } => Ok(Some(recording.org_id)),
            DeadLetter::Event(delivery) => match delivery.credential {
                Credential::Org { org_id, .. } => Ok(Some(org_id)),
                Credential::Platform => Ok(self.admin.find_org(&delivery.event).await?),
            },
        }
    }
}
