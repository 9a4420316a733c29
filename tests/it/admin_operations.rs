//! Redrives and replays that do not finish in one invocation: later invocations continue them, and their rows contain
//! the progress.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_core::admin::operations::{Progress, Work};
use ringfence_harness::testing::{Call, TestDatabase, TestQueues, TestWebhook, eventually};
use ringfence_protocol::admin::{Command, Operation, OperationState, Replayable, Reply, Selection};
use ringfence_vapi::{Function, OrgId};
use uuid::Uuid;

use crate::administration::administration;

struct Setting {
    database: TestDatabase,
    queues: TestQueues,
    org: OrgId,
    webhook: TestWebhook,
}

impl Setting {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let (queues, org) = (TestQueues::new().await, database.org("Acme").await);
        let webhook = TestWebhook::new(database.app(), &queues);
        Self { database, queues, org, webhook }
    }

    /// Posts the end of this number of calls.
    async fn end_calls(&self, calls: usize) {
        for _ in 0..calls {
            assert_eq!(self.webhook.post(self.org, &Call::default().status("ended", 0)).await.status, 200);
        }
    }

    /// Creates this number of dead letters whose cause has been fixed.
    async fn dead_letters(&self, calls: usize) {
        let client = self.database.superuser().await;
        client
            .batch_execute("ALTER TABLE calls ADD CONSTRAINT nobody_ends CHECK (status <> 'completed')")
            .await
            .unwrap();
        self.end_calls(calls).await;
        self.consume().await;
        client.batch_execute("ALTER TABLE calls DROP CONSTRAINT nobody_ends").await.unwrap();
        assert_eq!(self.dead().await, i64::try_from(calls).unwrap());
    }

    async fn dead(&self) -> i64 {
        self.database.count("failed_operations WHERE state = 'dead'").await
    }

    async fn consume(&self) {
        let consumer = self.queues.consumer(Function::CallEnded, Arc::clone(&self.database.app()));
        let deadline = Instant::now() + Duration::from_mins(5);
        consumer.consume(self.queues.take(Function::CallEnded).await, deadline).await;
    }

    /// Runs a command in an invocation that works on operations for at most `work_limit`.
    async fn perform(&self, work_limit: Duration, command: Command) -> Reply {
        let administration = administration(&self.database.url("postgres", None), &self.queues);
        administration.with_work_limit(work_limit).perform(command).await.unwrap()
    }

    async fn start(&self, work_limit: Duration, command: Command) -> Operation {
        let Reply::Operation(operation) = self.perform(work_limit, command).await else { panic!("another reply") };
        operation
    }

    /// Operations that a scheduled invocation worked on.
    async fn resume(&self, work_limit: Duration) -> Vec<Operation> {
        let reply = self.perform(work_limit, Command::ContinueOperations {}).await;
        let Reply::Operations { operations } = reply else { panic!("another reply") };
        operations
    }

    async fn listed(&self) -> Vec<Operation> {
        let list = Command::ListOperations { id: None, org_id: None, limit: 10 };
        let Reply::Operations { operations } = self.perform(Duration::ZERO, list).await else {
            panic!("another reply")
        };
        operations
    }

    /// Ends all leases, as if the invocation that works on an operation had died and no longer renewed its lease.
    async fn end_leases(&self) {
        let end = "UPDATE admin_operations SET lease_until = now() - interval '1 second'";
        self.database.superuser().await.batch_execute(end).await.unwrap();
    }

    async fn audited(&self, action: &str) -> i64 {
        self.database.count(&format!("audit_log WHERE action = '{action}' AND actor = 'ada'")).await
    }
}

fn replay(id: Uuid, per_second: u32) -> Command {
    let (actor, kind, selection) = ("ada".to_owned(), Replayable::Applied, Selection::default());
    Command::StartReplay { actor, id, kind, selection, per_second }
}

fn redrive(id: Uuid, per_second: u32) -> Command {
    Command::StartRedrive { actor: "ada".to_owned(), id, selection: Selection::default(), per_second, before: None }
}

fn progress(operation: &Operation) -> (OperationState, u64, u64, Option<u64>) {
    (operation.state, operation.done, operation.failed, operation.remaining)
}

/// D9: a replay that an invocation leaves unfinished is continued by the next ones, from the event that it had reached.
#[tokio::test]
async fn a_replay_continues_where_an_invocation_left_it() {
    let setting = Setting::new().await;
    setting.end_calls(5).await;
    let rows = setting.database.rows_of(setting.org).await;
    let id = Uuid::new_v4();
    let started = setting.start(Duration::ZERO, replay(id, 2)).await;
    assert_eq!((started.id, progress(&started)), (id, (OperationState::Running, 2, 0, Some(3))));
    let continued = setting.resume(Duration::ZERO).await;
    assert_eq!(progress(&continued[0]), (OperationState::Running, 4, 0, Some(1)));
    let finished = setting.resume(Duration::ZERO).await;
    assert_eq!(progress(&finished[0]), (OperationState::Done, 5, 0, Some(0)));
    assert!(finished[0].finished_at.is_some());
    assert_eq!(setting.resume(Duration::ZERO).await, []);
    assert_eq!(setting.listed().await, finished);
    assert_eq!(setting.database.rows_of(setting.org).await, rows);
    assert_eq!(setting.audited("event.replay").await, 3, "each page in the name of the person who started it");
    assert_eq!(setting.audited("operation.start").await, 1);
}

/// D9: if an invocation dies, its operation remains leased until the lease ends. The next invocation replays the
/// uncounted events and counts each once. If the first invocation was only slow, it finds that it has lost the lease.
#[tokio::test]
async fn a_replay_that_died_continues_and_counts_nothing_twice() {
    let setting = Setting::new().await;
    setting.end_calls(5).await;
    let rows = setting.database.rows_of(setting.org).await;
    let (admin, selection) = (setting.database.admin().await, Selection::default());
    let work = Work::Replay { replayable: Replayable::Applied, selection: selection.clone(), per_second: 2 };
    let id = Uuid::new_v4();
    let lease = admin.start_operation(id, &work, 5).await.unwrap().unwrap();
    let first = admin.replay(Replayable::Applied, None, &selection, None, 2).await.unwrap();
    let counted = Progress { done: first.replayed, failed: 0, seen: first.seen, cursor: first.next.as_ref() };
    assert!(admin.advance_operation(lease, counted).await.unwrap());
    admin.replay(Replayable::Applied, None, &selection, first.next.as_ref(), 2).await.unwrap();
    assert_eq!(setting.resume(Duration::from_mins(1)).await, [], "the lease is respected");

    setting.end_leases().await;
    let continued = setting.resume(Duration::from_mins(1)).await;
    assert_eq!(progress(&continued[0]), (OperationState::Done, 5, 0, Some(0)));
    assert_eq!(setting.database.rows_of(setting.org).await, rows);
    assert!(!admin.advance_operation(lease, counted).await.unwrap());
    admin.finish_operation(lease, 7, 7).await.unwrap();
    assert_eq!(setting.listed().await, continued);
}

/// D9: each pass of a redrive moves the dead letters that earlier passes left, each of them once.
#[tokio::test]
async fn a_redrive_takes_as_many_passes_as_it_needs() {
    let setting = Setting::new().await;
    setting.dead_letters(4).await;
    let limit = Duration::from_secs(3);
    let started = setting.start(limit, redrive(Uuid::new_v4(), 1)).await;
    assert_eq!((started.state, started.done + started.remaining.unwrap()), (OperationState::Running, 4), "{started:?}");
    let mut passes = 1;
    let finished = loop {
        passes += 1;
        let operation = setting.resume(limit).await.pop().unwrap();
        if operation.state != OperationState::Running {
            break operation;
        }
        assert!(passes < 20, "{operation:?}");
    };
    assert_eq!(progress(&finished), (OperationState::Done, 4, 0, Some(0)));
    assert_eq!((setting.audited("event.redrive").await, setting.audited("event.redrive_pass").await), (4, passes));
    setting.consume().await;
    assert_eq!(setting.database.count("failed_operations WHERE state = 'resolved'").await, 4);
    assert_eq!(setting.database.count("call_logs WHERE status = 'completed'").await, 4);
}

/// D9: a redrive that died holds messages that the next pass does not receive. The operation does not end before they
/// are visible again.
#[tokio::test]
async fn a_redrive_waits_for_the_messages_of_a_pass_that_died() {
    let setting = Setting::new().await;
    setting.dead_letters(2).await;
    let dead_letters = setting.queues.queues_of(Function::CallEnded).dead_letters;
    let held = dead_letters.receive(Duration::from_mins(12)).await.unwrap();
    let started = setting.start(Duration::from_mins(1), redrive(Uuid::new_v4(), 1_000)).await;
    assert_eq!(progress(&started), (OperationState::Running, 0, 0, Some(2)));
    let handles: Vec<_> = held.into_iter().map(|message| message.receipt_handle).collect();
    dead_letters.release(&handles).await;
    let continued = setting.resume(Duration::from_mins(1)).await;
    assert_eq!(progress(&continued[0]), (OperationState::Done, 2, 0, Some(0)));
}

/// D9: only one redrive runs at a time. Another one waits for the schedule, not within an invocation.
#[tokio::test]
async fn a_redrive_waits_for_another_one() {
    let setting = Setting::new().await;
    setting.dead_letters(1).await;
    let other = setting.database.admin().await;
    other.take_turn_to_redrive().await.unwrap();
    let started = setting.start(Duration::from_mins(1), redrive(Uuid::new_v4(), 1_000)).await;
    assert_eq!(progress(&started), (OperationState::Running, 0, 0, Some(1)));
    assert_eq!(progress(&setting.resume(Duration::from_mins(1)).await[0]), progress(&started));
    assert_eq!(
        setting.database.count("admin_operations WHERE idle_leases > 0").await,
        0,
        "waiting is no failed attempt"
    );
    drop(other);
    // The server detects the closed connection with a delay.
    let finished = eventually("the operation ends", async || {
        let operation = setting.resume(Duration::from_mins(1)).await.pop().unwrap();
        (operation.state != OperationState::Running).then_some(operation)
    })
    .await;
    assert_eq!(progress(&finished), (OperationState::Done, 1, 0, Some(0)));
}

/// D9: a command that is delivered twice starts one operation.
#[tokio::test]
async fn an_operation_starts_once() {
    let setting = Setting::new().await;
    setting.end_calls(1).await;
    let id = Uuid::new_v4();
    let started = setting.start(Duration::from_mins(1), replay(id, 10)).await;
    assert_eq!(progress(&started), (OperationState::Done, 1, 0, Some(0)));
    assert_eq!(setting.start(Duration::from_mins(1), replay(id, 10)).await, started);
    assert_eq!(setting.audited("event.replay").await, 1);
}

/// D9: an operation that cannot advance ends with a state that says so. An unreadable operation does not stop others.
#[tokio::test]
async fn an_operation_that_cannot_advance_is_given_up() {
    let setting = Setting::new().await;
    setting.end_calls(1).await;
    let unreadable = "INSERT INTO admin_operations (id, kind, actor, parameters, lease_holder, lease_until)
        VALUES (gen_random_uuid(), 'replay', 'ada', '{}', gen_random_uuid(), now() - interval '1 hour')";
    setting.database.superuser().await.batch_execute(unreadable).await.unwrap();
    let other = setting.start(Duration::ZERO, replay(Uuid::new_v4(), 1)).await;
    assert_eq!(other.state, OperationState::Running);
    let continued = setting.resume(Duration::from_mins(1)).await;
    assert_eq!(
        continued.iter().map(|operation| operation.state).collect::<Vec<_>>(),
        [OperationState::Running, OperationState::Done]
    );
    let tried = "UPDATE admin_operations SET idle_leases = 30, lease_until = now() - interval '1 second' WHERE state = 'running'";
    setting.database.superuser().await.batch_execute(tried).await.unwrap();
    assert_eq!(setting.resume(Duration::from_mins(1)).await, []);
    assert_eq!(setting.database.count("admin_operations WHERE state = 'failed' AND finished_at IS NOT NULL").await, 1);
}
