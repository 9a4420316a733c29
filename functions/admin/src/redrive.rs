//! Redrive: moves dead letters back to the retry queues that they came from.
//!
//! It moves one message at a time. SQS's `StartMessageMoveTask` cannot select messages by their events.

use std::collections::BTreeSet;
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

/// The visibility timeout of received dead letters. Longer than [`WORK_LIMIT`] and the work that remains after it.
const HOLD: Duration = Duration::from_mins(12);
/// The longest time that an invocation works on redrives and replays. Shorter than the timeout of both functions, so
/// that it can still store the progress.
pub(crate) const WORK_LIMIT: Duration = Duration::from_mins(4);
/// Fewer than the 120 000 messages that SQS allows to be in flight per queue.
const MAX_HELD: usize = 100_000;

/// How to redrive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// False: only count the selected dead letters.
    pub(crate) run: bool,
    /// Maximum number of messages per second.
    pub(crate) per_second: u32,
    /// Dead letters that were sent to the queue after this time are not moved.
    pub(crate) before: Timestamp,
    /// Delete the dead letters of erased calls, and move none.
    pub(crate) erasing: bool,
}

impl Manner {
    /// Moves dead letters to their retry queues.
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
    /// The lease of the operation, which each message renews. None: the pass belongs to no operation.
    lease: Option<Lease>,
    lease_lost: bool,
    found: DeadLetters,
    /// The calls of the dead letters that an erasure has deleted.
    erased: BTreeSet<String>,
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
        Self {
            admin,
            selection,
            manner,
            parking,
            until,
            lease: None,
            lease_lost: false,
            found,
            erased: BTreeSet::new(),
        }
    }

    /// Reports the progress of an operation, and stops when another invocation has taken it over.
    pub(crate) fn of_operation(self, lease: Lease) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// Processes the dead-letter queue of each function.
    pub(crate) async fn all(
        mut self,
        queues: impl Iterator<Item = &FunctionQueues>,
    ) -> Result<DeadLetters, CommandError> {
        self.run(queues).await?;
        Ok(self.found)
    }

    /// Deletes the dead letters of erased calls. Returns also the ids of these calls: some may have matched by their number
    /// only.
    pub(crate) async fn erase(
        mut self,
        queues: impl Iterator<Item = &FunctionQueues>,
    ) -> Result<(DeadLetters, BTreeSet<String>), CommandError> {
        self.run(queues).await?;
        Ok((self.found, self.erased))
    }

    async fn run(&mut self, queues: impl Iterator<Item = &FunctionQueues>) -> Result<(), CommandError> {
        for queues in queues {
            // The time limit is not checked between queues: each queue is received from at least once per pass. Otherwise an
            // operation with little time would never find the last queue empty, and never end.
            if self.lease_lost {
                self.found.more = true;
                break;
            }
            let mut held = Vec::new();
            let result = self.one(queues, &mut held).await;
            // Messages that are not moved become visible again at once, also after an error.
            queues.dead_letters.release(&held).await;
            result?;
        }
        Ok(())
    }

    /// `held` receives the receipt handles of the messages that are not moved.
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

    /// Returns whether the message left the dead-letter queue.
    async fn message(&mut self, queues: &FunctionQueues, message: &Received) -> Result<bool, CommandError> {
        if message.sent_at.is_some_and(|sent_at| sent_at > self.manner.before) {
            return Ok(false);
        }
        // A message that cannot be read does not stop the pass.
        let dead_letter = self.open(message).await;
        let org_id = match &dead_letter {
            Some(dead_letter) => self.org_of(dead_letter).await?,
            None => None,
        };
        let Some((dead_letter, org_id)) = dead_letter.zip(org_id) else {
            self.found.unknown += 1;
            return Ok(false);
        };
        if !self.admin.selects(self.selection, &dead_letter, org_id, message.code).await? {
            return Ok(false);
        }
        if self.manner.erasing && !self.admin.is_erased(org_id, &dead_letter).await? {
            return Ok(false);
        }
        self.found.selected += 1;
        if !self.manner.run {
            return Ok(false);
        }
        if self.manner.erasing {
            if dead_letter.is_from_platform() {
                self.admin.route_erased_call(org_id, dead_letter.call_id()).await?;
            }
            queues.dead_letters.delete(&message.receipt_handle).await?;
            self.erased.insert(dead_letter.call_id().to_owned());
            self.found.redriven += 1;
            return Ok(true);
        }
        self.send_back(queues, message, org_id, &dead_letter).await?;
        self.found.redriven += 1;
        self.advance(1).await?;
        let pace = Duration::from_secs(1) / self.manner.per_second.max(1);
        tokio::time::sleep(pace).await;
        Ok(true)
    }

    /// Marks the failure as redriven, sends the message, then deletes it from the dead-letter queue. After a crash between
    /// these steps the event is in at least one queue. If it is in both, the second one is detected as a duplicate.
    async fn send_back(
        &self,
        queues: &FunctionQueues,
        message: &Received,
        org_id: OrgId,
        dead_letter: &DeadLetter,
    ) -> Result<(), CommandError> {
        self.admin.mark_redriven(org_id, dead_letter).await?;
        if let Err(error) = queues.retries.send_text(message.body.clone(), message.code).await {
            self.admin.unmark_redriven(org_id, dead_letter).await?;
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

    async fn org_of(&self, dead_letter: &DeadLetter) -> Result<Option<OrgId>, CommandError> {
        match dead_letter {
            DeadLetter::Recording { recording, .. } => Ok(Some(recording.org_id)),
            DeadLetter::Event(delivery) => match delivery.credential {
                Credential::Org { org_id, .. } => Ok(Some(org_id)),
                Credential::Platform => match (self.admin.find_org(&delivery.event).await?, self.selection.org_id) {
                    // The erasing org's tombstone decides whether the event of an unknown org is erased.
                    (None, Some(org_id)) if self.manner.erasing => {
                        Ok(self.admin.may_concern_org(org_id, &delivery.event).await?.then_some(org_id))
                    }
                    (found, _) => Ok(found),
                },
            },
        }
    }
}
