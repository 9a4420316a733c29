//! Redrives and replays. An invocation works on an operation for a bounded time. A later invocation continues from the
//! position in the operation's row.

use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use jiff::Timestamp;
use ringfence_core::DatabaseSettings;
use ringfence_core::admin::Admin;
use ringfence_core::admin::operations::{Lease, Progress, Work};
use ringfence_core::admin::replay::{ReadQuarantined, ReplayCursor};
use ringfence_core::migrations::MigrationError;
use ringfence_identity::MasterKeys;
use ringfence_protocol::admin::{DeadLetters, Operation, Replayable, Selection};
use ringfence_runtime::{Environment, FunctionQueues, Misconfigured, Parking};
use ringfence_vapi::Function;
use serde_json::json;
use strum::IntoEnumIterator as _;
use uuid::Uuid;

use crate::CommandError;
use crate::quarantine::Reader;
use crate::redrive::{Manner, Redrive, WORK_LIMIT};

/// Named where nothing is changed, and so nothing is audited.
pub(crate) const READER: &str = "reader";

/// What redrive and replay work with.
pub struct Operations {
    database: DatabaseSettings,
    events: Vec<FunctionQueues>,
    recordings: FunctionQueues,
    parking: Parking,
    /// None: this function cannot read quarantined messages.
    quarantine: Option<Reader>,
    work_limit: Duration,
}

/// How an invocation leaves an operation.
enum Outcome {
    Finished {
        /// What failed beyond the reported progress.
        failed: u64,
        remaining: u64,
    },
    /// Time is up, or messages are hidden from this pass. The next invocation continues.
    Interrupted,
    /// Another redrive is at work.
    Busy,
}

impl Operations {
    /// From `DATABASE_OWNER_URL`, `PARKING_BUCKET`, the queues of each event function ([`FunctionQueues::from_environment`]) and those
    /// of recordings ([`FunctionQueues::of_recordings`]).
    pub fn from_environment(
        environment: &Environment<'_>,
        sqs: &Client,
        s3: aws_sdk_s3::Client,
    ) -> Result<Self, Misconfigured> {
        let queues = |function| FunctionQueues::from_environment(environment, sqs, function);
        Ok(Self {
            database: environment.owner_database()?,
            events: Function::iter().map(queues).collect::<Result<_, _>>()?,
            recordings: FunctionQueues::of_recordings(environment, sqs)?,
            parking: Parking::from_environment(environment, s3)?,
            quarantine: None,
            work_limit: WORK_LIMIT,
        })
    }

    /// The same, with the keys that open quarantined messages.
    #[must_use]
    pub(crate) fn with_masters(self, masters: MasterKeys) -> Self {
        Self { quarantine: Some(Reader { masters }), ..self }
    }

    /// The same, with another limit on the work of one invocation.
    #[must_use]
    pub fn with_work_limit(self, work_limit: Duration) -> Self {
        Self { work_limit, ..self }
    }

    pub(crate) const fn parking(&self) -> &Parking {
        &self.parking
    }

    pub(crate) const fn database(&self) -> &DatabaseSettings {
        &self.database
    }

    pub(crate) async fn admin(&self, actor: impl Into<String>) -> Result<Admin, MigrationError> {
        Admin::connect(&self.database, actor).await
    }

    /// The queues of each event function, in the order of the variants of [`Function`], and those of recordings.
    pub(crate) fn queues(&self) -> impl Iterator<Item = &FunctionQueues> {
        self.events.iter().chain([&self.recordings])
    }

    /// A pass over the dead letters, within the time of one invocation.
    pub(crate) fn pass<'a>(&'a self, admin: &'a Admin, selection: &'a Selection, manner: Manner) -> Redrive<'a> {
        Redrive::new(admin, &self.parking, selection, manner, self.deadline())
    }

    /// Counts the dead letters that a redrive would take.
    pub(crate) async fn count_redrive(&self, selection: &Selection) -> Result<DeadLetters, CommandError> {
        let admin = self.admin(READER).await?;
        self.pass(&admin, selection, Manner::back(false, 1, Timestamp::now())).all(self.queues()).await
    }

    pub(crate) async fn start_redrive(
        &self,
        actor: String,
        id: Uuid,
        selection: Selection,
        per_second: u32,
        before: Option<Timestamp>,
    ) -> Result<Operation, CommandError> {
        let admin = self.admin(actor).await?;
        let before = before.unwrap_or_else(Timestamp::now);
        let remaining = admin.count_redrivable(&selection, before).await?;
        self.start(&admin, id, &Work::Redrive { selection, per_second, before }, remaining).await
    }

    pub(crate) async fn start_replay(
        &self,
        actor: String,
        id: Uuid,
        replayable: Replayable,
        selection: Selection,
        per_second: u32,
    ) -> Result<Operation, CommandError> {
        let admin = self.admin(actor).await?;
        let remaining = admin.count_replayable(replayable, &selection).await?.unsigned_abs();
        self.start(&admin, id, &Work::Replay { replayable, selection, per_second }, remaining).await
    }

    /// Works on operations that no other invocation works on, until there is none left or time is up.
    pub(crate) async fn resume(&self) -> Result<Vec<Operation>, CommandError> {
        let reader = self.admin(READER).await?;
        let until = self.deadline();
        let mut tried = Vec::new();
        while tried.is_empty() || Instant::now() < until {
            let Some(leased) = reader.lease_operation(&tried).await? else { break };
            tried.push(leased.lease.id);
            // A connection of its own: what is audited names who started the operation, and its end gives up the turn to redrive.
            let admin = self.admin(leased.actor.as_str()).await?;
            match leased.work() {
                Ok(work) => self.work_on(&admin, leased.lease, &work, leased.cursor, until).await,
                // The lease runs out, and a release that can read it may lease it.
                Err(failure) => tracing::error!(operation.id = %leased.lease.id, %failure, "operation not readable"),
            }
        }
        let mut operations = Vec::new();
        for id in tried {
            operations.extend(reader.operations(Some(id), None, 1).await?);
        }
        Ok(operations)
    }

    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.work_limit
    }

    async fn start(&self, admin: &Admin, id: Uuid, work: &Work, remaining: u64) -> Result<Operation, CommandError> {
        if let Some(lease) = admin.start_operation(id, work, remaining).await? {
            self.work_on(admin, lease, work, None, self.deadline()).await;
        }
        admin.operations(Some(id), None, 1).await?.pop().ok_or(CommandError::NoSuch("operation"))
    }

    /// Works on a leased operation. An error is logged and leaves it to a later invocation: the row shows how far it came.
    async fn work_on(&self, admin: &Admin, lease: Lease, work: &Work, cursor: Option<ReplayCursor>, until: Instant) {
        let outcome = match work {
            Work::Redrive { selection, per_second, before } => {
                Box::pin(self.redrive(admin, lease, selection, Manner::back(true, *per_second, *before), until)).await
            }
            Work::Replay { replayable, selection, per_second } => {
                let page = i64::from((*per_second).max(1));
                let reader = self.quarantine.as_ref().map(|reader| reader as _);
                replay(admin, lease, (*replayable, reader), selection, page, cursor, until).await
            }
        };
        let left = match outcome {
            Ok(Outcome::Finished { failed, remaining }) => admin.finish_operation(lease, failed, remaining).await,
            Ok(Outcome::Interrupted) => admin.release_operation(lease, true).await,
            Ok(Outcome::Busy) => admin.release_operation(lease, false).await,
            Err(error) => {
                tracing::error!(operation.id = %lease.id, %error, "operation interrupted");
                admin.release_operation(lease, true).await
            }
        };
        if let Err(failure) = left {
            tracing::warn!(operation.id = %lease.id, %failure, "the operation waits until its lease runs out");
        }
    }

    async fn redrive(
        &self,
        admin: &Admin,
        lease: Lease,
        selection: &Selection,
        manner: Manner,
        until: Instant,
    ) -> Result<Outcome, CommandError> {
        if !admin.try_turn_to_redrive().await? {
            return Ok(Outcome::Busy);
        }
        let pass = Redrive::new(admin, &self.parking, selection, manner, until).of_operation(lease);
        let found = pass.all(self.queues()).await;
        admin.end_turn_to_redrive().await?;
        let found = found?;
        admin.record_redrive_pass(selection.org_id, &json!(found)).await?;
        if found.more || self.hidden().await? > 0 {
            return Ok(Outcome::Interrupted);
        }
        // Nothing is known of a dead letter that cannot be read, so only a redrive without a filter selects it.
        let failed = if *selection == Selection::default() { found.unknown } else { 0 };
        let remaining = admin.count_redrivable(selection, manner.before).await?;
        Ok(Outcome::Finished { failed, remaining })
    }

    /// Dead letters that a pass does not find, because another reader holds them: above all a pass that was cut off.
    async fn hidden(&self) -> Result<i64, CommandError> {
        let mut hidden = 0;
        for queues in self.queues() {
            hidden += queues.dead_letters.depth().await?.in_flight;
        }
        Ok(hidden)
    }
}

/// A page holds what may be replayed in a second, and takes a second at least.
async fn replay(
    admin: &Admin,
    lease: Lease,
    (replayable, reader): (Replayable, Option<&(dyn ReadQuarantined + Send + Sync)>),
    selection: &Selection,
    page: i64,
    mut cursor: Option<ReplayCursor>,
    until: Instant,
) -> Result<Outcome, CommandError> {
    loop {
        let next_page = tokio::time::Instant::now() + Duration::from_secs(1);
        let replayed = admin.replay(replayable, reader, selection, cursor.as_ref(), page).await?;
        cursor = replayed.next.or(cursor);
        let progress =
            Progress { done: replayed.replayed, failed: replayed.failed, seen: replayed.seen, cursor: cursor.as_ref() };
        // Without the lease, another invocation replays these events as well, which ends in the same rows, and counts them.
        if !admin.advance_operation(lease, progress).await? {
            return Ok(Outcome::Interrupted);
        }
        if i64::try_from(replayed.seen).is_ok_and(|seen| seen < page) {
            return Ok(Outcome::Finished { failed: 0, remaining: 0 });
        }
        if Instant::now() > until {
            return Ok(Outcome::Interrupted);
        }
        tokio::time::sleep_until(next_page).await;
    }
}
