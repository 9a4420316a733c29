//! Failed operations: every failure has a row with its reason and can be repeated.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::SqsEvent;
use ringfence_core::Database;
use ringfence_core::admin::replay::Replayed;
use ringfence_harness::testing::{Call, TestDatabase, TestQueues, TestWebhook, eventually};
use ringfence_protocol::admin::{Command, OperationState, Replayable, Reply, Selection};
use ringfence_runtime::consumer::LAST_RECEIVE;
use ringfence_vapi::{FailureCode, Function, OrgId};
use serde_json::json;
use uuid::Uuid;

use crate::administration::administration;

const UNAVAILABLE: Option<&str> = Some("127.0.0.1:1");

/// A fresh database with one org, queues, and the webhook function.
struct Setting {
    database: TestDatabase,
    queues: TestQueues,
    org: OrgId,
    app: Arc<Database>,
    webhook: TestWebhook,
}

impl Setting {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let (queues, org, app) = (TestQueues::new().await, database.org("Acme").await, database.app());
        let webhook = TestWebhook::new(Arc::clone(&app), &queues);
        Self { database, queues, org, app, webhook }
    }

    /// Adds or removes a constraint that no completed call satisfies.
    async fn break_ends(&self, broken: bool) {
        let change = if broken {
            "ADD CONSTRAINT nobody_ends CHECK (status <> 'completed')"
        } else {
            "DROP CONSTRAINT nobody_ends"
        };
        self.database.superuser().await.batch_execute(&format!("ALTER TABLE calls {change}")).await.unwrap();
    }

    /// Makes every update of a call fail with a deadlock.
    async fn deadlock(&self) {
        let deadlock = "CREATE FUNCTION deadlock() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'deadlock_detected'; END $$;
            CREATE TRIGGER deadlock BEFORE INSERT OR UPDATE ON calls FOR EACH ROW EXECUTE FUNCTION deadlock()";
        self.database.superuser().await.batch_execute(deadlock).await.unwrap();
    }

    /// Runs the function of ended calls on its waiting messages. Returns the number of failed messages.
    async fn consume(&self) -> usize {
        self.consume_batch(self.queues.take(Function::CallEnded).await).await
    }

    async fn consume_batch(&self, batch: SqsEvent) -> usize {
        let consumer = self.queues.consumer(Function::CallEnded, Arc::clone(&self.app));
        consumer.consume(batch, Instant::now() + Duration::from_mins(5)).await.batch_item_failures.len()
    }

    /// Failed operations with a line each: `state code receives attempts, has event`.
    async fn operations(&self) -> Vec<String> {
        let query = "SELECT format('%s %s %s [%s] %s', state, code, receives,
                (SELECT string_agg(a.function || ' ' || a.code || coalesce(' ' || a.constraint_name, ''), ', ' ORDER BY failed_at)
                    FROM failed_attempts a WHERE a.org_id = f.org_id AND a.event_id = f.event_id),
                CASE WHEN event IS NULL THEN 'without event' ELSE 'with event' END)
            FROM failed_operations f ORDER BY first_failed_at, event_id";
        let rows = self.database.superuser().await.query(query, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn perform(&self, act: Command) -> Reply {
        administration(&self.database.url("postgres", None), &self.queues).perform(act).await.unwrap()
    }

    /// Redrives or only counts. Returns selected, redriven and unknown.
    async fn redrive(&self, selection: Selection, run: bool) -> (u64, u64, u64) {
        let Reply::DeadLetters(found) = self.perform(Command::CountRedrive { selection: selection.clone() }).await
        else {
            panic!("another reply")
        };
        if !run {
            return (found.selected, 0, found.unknown);
        }
        let (actor, id) = ("test".to_owned(), Uuid::new_v4());
        let start = Command::StartRedrive { actor, id, selection, per_second: 1_000, before: None };
        let Reply::Operation(operation) = self.perform(start).await else { panic!("another reply") };
        assert_eq!(operation.state, OperationState::Done, "{operation:?}");
        (found.selected, operation.done, found.unknown)
    }

    /// Replays page by page, with two events per page.
    async fn replay(&self, kind: Replayable, selection: &Selection) -> Replayed {
        let admin = self.database.admin().await;
        let mut total = Replayed::default();
        loop {
            let page = admin.replay(kind, None, selection, total.next.as_ref(), 2).await.unwrap();
            total = Replayed {
                seen: total.seen + page.seen,
                replayed: total.replayed + page.replayed,
                failed: total.failed + page.failed,
                next: page.next,
            };
            if total.next.is_none() {
                return total;
            }
        }
    }

    async fn audited(&self, action: &str) -> i64 {
        self.database.count(&format!("audit_log WHERE action = '{action}' AND actor = 'test'")).await
    }
}

/// B2, B7: a failure during an outage of the database is recorded by the statement that later applies the event.
#[tokio::test]
async fn a_failure_during_an_outage_is_written_down_afterwards() {
    let setting = Setting::new().await;
    let webhook = TestWebhook::new(setting.database.app_at(UNAVAILABLE), &setting.queues);
    assert_eq!(webhook.post(setting.org, &Call::default().status("ended", 0)).await.status, 200);
    assert_eq!(setting.operations().await, [""; 0]);
    assert_eq!(setting.consume().await, 0);
    assert_eq!(setting.operations().await, ["resolved RF1001 1 [webhook RF1001] without event"]);
}

/// B7: a failed attempt while the database answers is recorded at once, and the row is resolved when the event applies.
#[tokio::test]
async fn a_retried_event_has_a_row_until_it_applies() {
    let setting = Setting::new().await;
    setting.deadlock().await;
    setting.webhook.post(setting.org, &Call::default().status("ended", 0)).await;
    let batch = setting.queues.take(Function::CallEnded).await;
    assert_eq!(setting.consume_batch(batch.clone()).await, 1);
    let retrying = ["retrying RF1003 1 [webhook RF1003, call-ended RF1003] with event"];
    assert_eq!(setting.operations().await, retrying);

    setting.database.superuser().await.batch_execute("DROP TRIGGER deadlock ON calls").await.unwrap();
    assert_eq!(setting.consume_batch(batch).await, 0);
    let resolved = ["resolved RF1003 1 [webhook RF1003, call-ended RF1003] without event"];
    assert_eq!(setting.operations().await, resolved);
    assert_eq!(setting.database.count("call_logs WHERE status = 'completed'").await, 1);
}

/// B2, B7, D9: a record that cannot be applied becomes a dead letter with its code and a row. After the cause is fixed,
/// a redrive applies it.
#[tokio::test]
async fn a_dead_letter_applies_once_its_cause_is_fixed_and_it_is_redriven() {
    let setting = Setting::new().await;
    setting.break_ends(true).await;
    setting.webhook.post(setting.org, &Call::default().status("ended", 0)).await;
    assert_eq!(setting.consume().await, 0);
    let dead = "dead RF2001 1 [webhook RF2001 nobody_ends, call-ended RF2001 nobody_ends] with event";
    assert_eq!(setting.operations().await, [dead]);

    let listing = Command::ListFailures { selection: Selection::default(), resolved: false, limit: 10 };
    let Reply::Failures { operations } = setting.perform(listing).await else { panic!("another answer") };
    assert_eq!((operations.len(), operations[0].code.as_str(), operations[0].attempts), (1, "RF2001", 2));

    setting.break_ends(false).await;
    assert_eq!(setting.redrive(Selection::default(), false).await, (1, 0, 0), "counted only");
    assert_eq!(setting.redrive(Selection::default(), true).await, (1, 1, 0));
    assert!(setting.operations().await[0].starts_with("redriven RF2001"));
    assert_eq!(setting.audited("event.redrive").await, 1);
    assert_eq!(setting.consume().await, 0);
    assert!(setting.operations().await[0].starts_with("resolved RF2001"));
    assert_eq!(setting.database.count("call_logs WHERE status = 'completed'").await, 1);
    assert_eq!(setting.queues.dead_letters(Function::CallEnded).await, [""; 0]);
}

/// D9: a redrive moves only the selected dead letters and leaves the others in place.
#[tokio::test]
async fn a_redrive_takes_the_selected_events_only() {
    let setting = Setting::new().await;
    let other = setting.database.org("Other").await;
    setting.break_ends(true).await;
    let (first, second) = (Call::default(), Call::default());
    for (org, call) in [(setting.org, &first), (setting.org, &second), (other, &Call::default())] {
        setting.webhook.post(org, &call.status("ended", 0)).await;
    }
    setting.queues.put(Function::CallEnded, "no event").await;
    assert_eq!(setting.consume().await, 0);

    let of_org = Selection { org_id: Some(setting.org), ..Selection::default() };
    let of_call = Selection { call_id: Some(first.id.clone()), ..of_org.clone() };
    let of_code = Selection { code: Some(FailureCode::HandlerPanicked), ..of_org.clone() };
    let of_type = Selection { event_type: Some("transcript".to_owned()), ..of_org.clone() };
    let early = Selection { until: Some("2026-01-01T00:00:00Z".parse().unwrap()), ..of_org.clone() };
    for (selection, selected) in
        [(&of_org, 2), (&of_call, 1), (&of_code, 0), (&of_type, 0), (&early, 0), (&Selection::default(), 3)]
    {
        assert_eq!(setting.redrive(selection.clone(), false).await, (selected, 0, 1), "{selection:?}");
    }
    assert_eq!(setting.redrive(of_call, true).await, (1, 1, 1));
    assert_eq!(setting.queues.take(Function::CallEnded).await.records.len(), 1);
    assert_eq!(setting.redrive(Selection::default(), false).await, (2, 0, 1));
    assert_eq!(setting.database.count("failed_operations WHERE state = 'redriven'").await, 1);
}

/// D9: a redrive whose cause is not fixed ends: a message that becomes a dead letter again during it is not redriven
/// again.
#[tokio::test]
async fn a_redrive_sends_each_dead_letter_back_once() {
    let setting = Setting::new().await;
    setting.break_ends(true).await;
    for _ in 0..3 {
        setting.webhook.post(setting.org, &Call::default().status("ended", 0)).await;
    }
    assert_eq!(setting.consume().await, 0);
    let consuming = async {
        loop {
            setting.consume().await;
        }
    };
    let redriven = tokio::select! {
        redriven = setting.redrive(Selection::default(), true) => redriven,
        () = consuming => unreachable!(),
    };
    assert_eq!(redriven, (3, 3, 0));
    assert_eq!(setting.audited("event.redrive").await, 3);
    eventually("all are dead letters again", async || {
        setting.consume().await;
        (setting.database.count("failed_operations WHERE state <> 'dead'").await == 0).then_some(())
    })
    .await;
}

/// B2, B7: an event that fails at its last receive becomes a dead letter with a separate code, and its row contains the
/// code.
#[tokio::test]
async fn the_last_receive_ends_in_the_dead_letter_queue() {
    let setting = Setting::new().await;
    setting.deadlock().await;
    setting.webhook.post(setting.org, &Call::default().status("ended", 0)).await;
    let mut batch = setting.queues.take(Function::CallEnded).await;
    batch.records[0].attributes.insert("ApproximateReceiveCount".to_owned(), LAST_RECEIVE.to_string());
    assert_eq!(setting.consume_batch(batch).await, 0);
    assert!(
        setting.operations().await[0].starts_with(&format!("dead RF1003 {LAST_RECEIVE}")),
        "{:?}",
        setting.operations().await
    );
    assert_eq!(setting.queues.dead_letters(Function::CallEnded).await, ["RF1003"]);
}

/// B7, D9: an event that became a dead letter while the database was unavailable gets its row when it is redriven and
/// applied.
#[tokio::test]
async fn a_dead_letter_without_a_row_gets_one_when_it_is_redriven() {
    let setting = Setting::new().await;
    let unavailable = setting.database.app_at(UNAVAILABLE);
    TestWebhook::new(Arc::clone(&unavailable), &setting.queues)
        .post(setting.org, &Call::default().status("ended", 0))
        .await;
    let mut batch = setting.queues.take(Function::CallEnded).await;
    batch.records[0].attributes.insert("ApproximateReceiveCount".to_owned(), LAST_RECEIVE.to_string());
    let consumer = setting.queues.consumer(Function::CallEnded, Arc::clone(&unavailable));
    let response = consumer.consume(batch, Instant::now() + Duration::from_mins(5)).await;
    assert_eq!(response.batch_item_failures.len(), 0);
    assert_eq!(setting.operations().await, [""; 0]);

    assert_eq!(setting.redrive(Selection::default(), true).await, (1, 1, 0));
    assert_eq!(setting.operations().await, ["redriven RF1001 0 [webhook RF1001] with event"]);
    assert_eq!(setting.consume().await, 0);
    assert!(setting.operations().await[0].starts_with("resolved RF1001"));
    assert_eq!(setting.database.count("call_logs WHERE status = 'completed'").await, 1);
}

/// D5, D9: a replay does not apply an event that was received with a revoked key.
#[tokio::test]
async fn a_replay_opens_nothing_to_a_revoked_key() {
    let setting = Setting::new().await;
    let webhook = TestWebhook::new(setting.database.app_at(UNAVAILABLE), &setting.queues);
    setting.database.admin().await.rotate_key(setting.org, Duration::ZERO).await.unwrap();
    webhook.post(setting.org, &Call::default().status("ended", 0)).await;
    assert_eq!(setting.consume().await, 0);
    assert!(setting.operations().await[0].starts_with("dead RF2004"));
    let replayed = setting.replay(Replayable::Failed, &Selection::default()).await;
    assert_eq!((replayed.replayed, replayed.failed), (0, 0));
    assert_eq!(setting.database.count("call_logs").await, 0);
}

/// B7: if Vapi delivers a failed event again and it applies, its row is resolved. Its dead letter is then a duplicate.
#[tokio::test]
async fn a_row_is_resolved_by_any_delivery_of_its_event() {
    let setting = Setting::new().await;
    let body = Call::default().status("ended", 0);
    setting.break_ends(true).await;
    setting.webhook.post(setting.org, &body).await;
    setting.consume().await;
    setting.break_ends(false).await;
    setting.webhook.post(setting.org, &body).await;
    assert!(setting.operations().await[0].starts_with("resolved RF2001"));

    let before = setting.database.rows_of(setting.org).await;
    assert_eq!(setting.redrive(Selection::default(), true).await, (1, 1, 0));
    assert_eq!(setting.consume().await, 0);
    assert!(setting.operations().await[0].starts_with("resolved RF2001"));
    assert_eq!(setting.database.rows_of(setting.org).await, before);
}

/// D13: a failed platform event belongs to the org that registered the ids in the event. Without such an org there is
/// no row.
#[tokio::test]
async fn a_platform_events_failure_is_its_orgs() {
    let setting = Setting::new().await;
    let call = Call::default();
    setting.database.agent(setting.org, call.assistant.as_deref().unwrap()).await;
    setting.break_ends(true).await;
    let nobodys = Call { assistant: None, phone_number: None, ..Call::default() };
    for call in [&call, &nobodys] {
        assert_eq!(setting.webhook.post_platform(&call.status("ended", 0)).await.status, 200);
    }
    setting.consume().await;
    assert_eq!(setting.database.count(&format!("failed_operations WHERE org_id = '{}'", setting.org)).await, 1);
    assert_eq!(setting.database.count("failed_operations").await, 1);
    assert_eq!(setting.database.count("unresolved_events").await, 1);

    setting.break_ends(false).await;
    assert_eq!(setting.redrive(Selection::default(), true).await, (1, 1, 0));
    setting.consume().await;
    assert!(setting.operations().await[0].starts_with("resolved RF2001"));
}

/// D9: a replay of applied events is counted first and audited. The claims do not block it, it results in the same
/// rows, and damaged rows are restored.
#[tokio::test]
async fn a_replay_ends_in_the_same_rows() {
    let setting = Setting::new().await;
    setting.database.lead(setting.org, "+15555550142").await;
    let call = Call::default();
    for body in [
        call.status("in-progress", 4_000),
        call.transcript("A visit, please.", 9_000),
        call.message("hang", 12_000, json!({})),
        call.status("ended", 21_300),
        call.report(60_000, json!({})),
    ] {
        setting.webhook.post(setting.org, &body).await;
    }
    let whole = setting.database.rows_of(setting.org).await;
    let selection = Selection { call_id: Some(call.id.clone()), ..Selection::default() };
    let admin = setting.database.admin().await;
    assert_eq!(admin.count_replayable(Replayable::Applied, &selection).await.unwrap(), 5);

    let replayed = setting.replay(Replayable::Applied, &selection).await;
    assert_eq!((replayed.replayed, replayed.failed), (5, 0));
    assert_eq!(setting.database.rows_of(setting.org).await, whole);
    assert_eq!(setting.audited("event.replay").await, 3, "one for each page");

    let damage = "DELETE FROM call_transcripts; DELETE FROM calls; DELETE FROM call_tracking;
        UPDATE call_logs SET cost = 99, summary = NULL, status = 'ringing'";
    setting.database.superuser().await.batch_execute(damage).await.unwrap();
    setting.replay(Replayable::Applied, &selection).await;
    assert_eq!(setting.database.rows_of(setting.org).await, whole);

    let of_another = Selection { org_id: Some(setting.database.org("Other").await), ..Selection::default() };
    assert_eq!(setting.replay(Replayable::Applied, &of_another).await, Replayed::default());
}

/// D9: failed events are replayed from their rows, claim and effects together. An event that fails again remains and
/// does not stop others.
#[tokio::test]
async fn failed_events_are_replayed_from_their_rows() {
    let setting = Setting::new().await;
    setting.break_ends(true).await;
    for _ in 0..3 {
        setting.webhook.post(setting.org, &Call::default().status("ended", 0)).await;
    }
    setting.consume().await;
    let failed = setting.replay(Replayable::Failed, &Selection::default()).await;
    assert_eq!((failed.replayed, failed.failed), (0, 3));
    assert_eq!(setting.database.count("processed_webhook_events WHERE event_type <> 'operation-failed'").await, 0);

    setting.break_ends(false).await;
    let replayed = setting.replay(Replayable::Failed, &Selection::default()).await;
    assert_eq!((replayed.replayed, replayed.failed), (3, 0));
    assert_eq!(setting.database.count("failed_operations WHERE state = 'resolved'").await, 3);
    assert_eq!(setting.database.count("call_logs WHERE status = 'completed'").await, 3);
    let admin = setting.database.admin().await;
    assert_eq!(admin.count_replayable(Replayable::Failed, &Selection::default()).await.unwrap(), 0);
}
