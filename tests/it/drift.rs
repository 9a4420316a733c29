//! E5: a message type and a field that this version does not know are noticed, and nothing is lost.

use std::time::Duration;

use ringfence_core::drift::{self, FieldCount, Quarantined, Retention};
use ringfence_harness::testing::webhook::{Reply, masters};
use ringfence_harness::testing::{Call, TestDatabase, TestQueues, TestWebhook};
use ringfence_protocol::Credential;
use ringfence_protocol::admin::{Command, Erasure, OperationState, Replayable, Reply as Answer, Selection, Target};
use ringfence_vapi::interactive::Conversation;
use ringfence_vapi::{Handling, OrgId, message_types};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::administration::administration;

const NUMBER: &str = "+15555550142";

struct Site {
    database: TestDatabase,
    queues: TestQueues,
    webhook: TestWebhook,
    org: OrgId,
}

impl Site {
    async fn open() -> Self {
        let (database, queues) = (TestDatabase::new().await, TestQueues::with_bucket().await);
        let (webhook, org) = (TestWebhook::new(database.app(), &queues), database.org("Acme").await);
        Self { database, queues, webhook, org }
    }

    async fn post(&self, body: &Value) -> Reply {
        self.webhook.post(self.org, body).await
    }

    async fn quarantined(&self) -> i64 {
        self.database.count("quarantined_messages").await
    }

    async fn perform(&self, command: Command) -> Answer {
        administration(&self.database.url("postgres", None), &self.queues).perform(command).await.unwrap()
    }

    async fn erase(&self, target: Target, run: bool) -> Erasure {
        match self.perform(Command::Erase { actor: "ada".to_owned(), org_id: self.org, target, run }).await {
            Answer::Erased(erasure) => erasure,
            other => panic!("{other:?}"),
        }
    }

    /// Replays the quarantined messages. Returns how many were applied and how many failed.
    async fn replay(&self) -> (u64, u64) {
        let (actor, selection) = ("ada".to_owned(), Selection { org_id: Some(self.org), ..Selection::default() });
        let (id, kind) = (Uuid::new_v4(), Replayable::Quarantined);
        match self.perform(Command::StartReplay { actor, id, kind, selection, per_second: 1_000 }).await {
            Answer::Operation(operation) => {
                assert_eq!(operation.state, OperationState::Done);
                (operation.done, operation.failed)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Stores a message of a known type as a version would that does not know it.
    async fn store(&self, body: &Value) -> Retention {
        let body = body.to_string();
        let id = hex::encode(Sha256::digest(&body));
        let sealed = masters().message_sealer().seal(self.org, &id, &body).unwrap();
        let (call, received_at) = (Conversation::default(), jiff::Timestamp::now());
        let message = Quarantined {
            org_id: self.org,
            credential: Credential::Org { org_id: self.org, key_version: 1 },
            id: &id,
            message_type: "something.new",
            message_time: None,
            conversation: &call,
            sealed: &sealed,
            received_at,
        };
        drift::quarantine(&self.database.app(), &message).await.unwrap()
    }
}

/// E5: a message of an unknown type is stored once, and the database holds nothing of it that can be read.
#[tokio::test]
async fn a_message_of_an_unknown_type_is_stored_sealed() {
    let site = Site::open().await;
    let call = Call::default();
    let body =
        call.message("something.new", 0, json!({"note": "Grace", "assistant": {"server": {"secret": "s3cret"}}}));
    for _ in 0..2 {
        let reply = site.post(&body).await;
        assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, "{}"));
    }
    let found = "SELECT concat_ws(' ', event_type, vapi_call_id, cardinality(number_tombstones), key_version)
        FROM quarantined_messages";
    assert_eq!(site.database.text(found).await, Some(format!("something.new {} 1 1", call.id)));
    let row = site.database.text("SELECT to_jsonb(q) FROM quarantined_messages q").await.unwrap();
    for text in ["Grace", "s3cret", NUMBER, "5555550142"] {
        assert!(!row.contains(text), "{text}");
    }
    let (id, sealed) = ("SELECT event_id FROM quarantined_messages", "SELECT sealed FROM quarantined_messages");
    let (id, sealed) = (site.database.text(id).await.unwrap(), site.database.text(sealed).await.unwrap());
    let opened = masters().message_sealer().open(site.org, &id, &sealed).unwrap();
    assert!(opened.contains("Grace") && !opened.contains("s3cret"), "configuration is left out");
    let app = site.database.client("ringfence_app").await;
    assert!(app.query("SELECT sealed FROM quarantined_messages", &[]).await.is_err(), "functions cannot read it");
}

/// E5: types are unknown unless they are listed, also in known families, and a type that is no token is stored as well.
#[tokio::test]
async fn every_unlisted_type_is_unknown() {
    let site = Site::open().await;
    for body in [
        json!({"message": {"type": "chat.archived"}}),
        json!({"message": {"type": "campaign.paused", "call": 7}}),
        json!({"message": {"type": "'; DROP TABLE call_logs; --"}}),
        json!({"type": "simulation.run.paused", "runId": "r"}),
    ] {
        assert_eq!(site.post(&body).await.status, 200, "{body}");
    }
    let types = "SELECT string_agg(event_type, ' ' ORDER BY event_type) FROM quarantined_messages";
    assert_eq!(
        site.database.text(types).await.as_deref(),
        Some("campaign.paused chat.archived simulation.run.paused unknown")
    );
    for (name, handling) in message_types() {
        let call = json!({"id": Uuid::new_v4().to_string()});
        let reply = site.post(&json!({"message": {"type": name, "call": call}})).await;
        assert_eq!(reply.status == 404, handling == Handling::Refused, "{name}: {}", reply.text);
    }
    assert_eq!(site.quarantined().await, 4);
}

/// E5: a message that is too large, and one beyond the org's limit, are acknowledged and not stored.
#[tokio::test]
async fn the_quarantine_is_bounded() {
    let site = Site::open().await;
    let large = Call::default().message("something.new", 0, json!({"text": "x".repeat(64 * 1024)}));
    assert_eq!(site.post(&large).await.status, 200);
    assert_eq!(site.quarantined().await, 0);
    let fill = format!(
        "INSERT INTO quarantined_messages (org_id, event_id, event_type, number_tombstones, sealed, received_at)
            SELECT '{}', n::text, 'something.new', '{{}}', 's', now() FROM generate_series(1, 999) AS n",
        site.org
    );
    site.database.superuser().await.batch_execute(&fill).await.unwrap();
    for _ in 0..2 {
        assert_eq!(site.post(&Call::default().message("something.new", 0, json!({}))).await.status, 200);
    }
    assert_eq!(site.quarantined().await, 1_000);
    let old = "UPDATE quarantined_messages SET received_at = now() - interval '15 days' WHERE sealed = 's'";
    site.database.superuser().await.batch_execute(old).await.unwrap();
    let app = site.database.app();
    let count = ringfence_core::maintenance::clean_rows(&app, "quarantined messages", 1_000, true).await.unwrap();
    assert_eq!((count, site.quarantined().await), (999, 1));
}

/// E5: with the platform's key the org is found as for an event. A message that names no org is not stored.
#[tokio::test]
async fn a_message_to_the_platforms_url_is_stored_for_its_org() {
    let site = Site::open().await;
    let call = Call::default();
    let body = call.message("something.new", 0, json!({}));
    assert_eq!(site.webhook.post_platform(&body).await.status, 200);
    assert_eq!(site.quarantined().await, 0);
    site.database.agent(site.org, call.assistant.as_deref().unwrap()).await;
    assert_eq!(site.webhook.post_platform(&body).await.status, 200);
    assert_eq!(site.database.count(&format!("quarantined_messages WHERE org_id = '{}'", site.org)).await, 1);
}

/// E5: without the database the sender is told to send the message again.
#[tokio::test]
async fn a_message_that_cannot_be_stored_is_not_acknowledged() {
    let site = Site::open().await;
    site.database.superuser().await.batch_execute("DROP FUNCTION quarantine_message_v1").await.unwrap();
    let reply = site.post(&Call::default().message("something.new", 0, json!({}))).await;
    assert_eq!((reply.status.as_u16(), &reply.body["code"]), (503, &json!("RF1006")));
}

/// E5: a version that knows the type applies the message: its rows are those of a webhook. What is still unknown waits.
#[tokio::test]
async fn a_later_version_applies_what_was_stored() {
    let site = Site::open().await;
    let (call, other) = (Call::default(), Call::default());
    assert_eq!(site.store(&call.status("in-progress", 0)).await, Retention::Retained);
    assert_eq!(site.store(&call.report(60_000, json!({}))).await, Retention::Retained);
    assert_eq!(site.store(&other.message("speech-update", 0, json!({}))).await, Retention::Retained);
    assert_eq!(site.post(&other.message("something.new", 0, json!({}))).await.status, 200);
    assert_eq!(site.quarantined().await, 4);

    assert_eq!(site.replay().await, (3, 0), "two events, and a message that is not stored");
    let row = "SELECT concat_ws(' ', status, duration_seconds, summary) FROM call_logs";
    assert_eq!(site.database.text(row).await.as_deref(), Some("completed 17 Wants a visit."));
    assert_eq!(site.database.count("processed_webhook_events").await, 2);
    assert_eq!(site.database.count("recording_upload_queue WHERE link IS NOT NULL").await, 1);
    assert_eq!(site.quarantined().await, 1, "its type is still unknown");
    let audited = "audit_log WHERE action = 'event.replay' AND subject = 'quarantined messages'";
    assert_eq!(site.database.count(audited).await, 1);

    // A delivery of the same message is a duplicate of it.
    assert_eq!(site.post(&call.status("in-progress", 0)).await.status, 200);
    assert_eq!(site.database.count("processed_webhook_events").await, 2);
}

/// E5: a message that cannot be opened fails, and the others are applied.
#[tokio::test]
async fn a_message_that_cannot_be_opened_fails_alone() {
    let site = Site::open().await;
    assert_eq!(site.store(&Call::default().status("in-progress", 0)).await, Retention::Retained);
    assert_eq!(site.store(&Call::default().status("in-progress", 0)).await, Retention::Retained);
    let damage = "UPDATE quarantined_messages SET sealed = 't.AAAA'
        WHERE event_id = (SELECT min(event_id) FROM quarantined_messages)";
    site.database.superuser().await.batch_execute(damage).await.unwrap();
    assert_eq!(site.replay().await, (1, 1));
    assert_eq!((site.quarantined().await, site.database.count("call_logs").await), (1, 1));
}

/// E5, D11: an erasure finds a message of an unknown type by its call and by its number, and keeps it out afterwards.
#[tokio::test]
async fn an_erasure_finds_messages_of_unknown_types() {
    let site = Site::open().await;
    let (call, other) = (Call::default(), Call { customer: Some("+15555550199".to_owned()), ..Call::default() });
    let no_call = json!({"message": {"type": "something.new", "customer": {"number": NUMBER}}});
    let bodies = [call.message("something.new", 0, json!({})), other.message("something.new", 0, json!({})), no_call];
    for body in &bodies {
        assert_eq!(site.post(body).await.status, 200);
    }
    assert_eq!(site.erase(Target::Call(other.id.clone()), false).await.known.quarantined, 1);
    assert_eq!(site.erase(Target::Call(other.id.clone()), true).await.known.quarantined, 1);
    assert_eq!(site.quarantined().await, 2);
    let number = || Target::Number(NUMBER.to_owned().into());
    assert_eq!(site.erase(number(), false).await.known.quarantined, 2);
    assert_eq!(site.erase(number(), true).await.known.quarantined, 2);
    assert_eq!(site.quarantined().await, 0);
    // The message without a call has no time of its own, so it is one of a later call.
    for body in &bodies[..2] {
        assert_eq!(site.post(body).await.status, 200);
    }
    assert_eq!(site.quarantined().await, 0);
}

/// E5: names of unknown fields are counted, values never, and not with a statement per webhook.
#[tokio::test]
async fn unknown_fields_are_counted_by_name() {
    let site = Site::open().await;
    let body = |n: i64| {
        let fields = json!({"status": "ringing", "newField": "Grace", "+15555550142": 1, "phoneNumber": {"other": 1}});
        let mut body = Call::default().message("status-update", n, fields);
        body["message"]["call"]["mood"] = json!("happy");
        body
    };
    for n in 0..5 {
        assert_eq!(site.post(&body(n)).await.status, 200);
    }
    // The first message writes; the others wait in memory.
    let counted =
        "SELECT string_agg(concat_ws(' ', message_type, field, messages), ', ' ORDER BY field) FROM unknown_fields";
    let once = "status-update call.mood 1, status-update message.newField 1";
    assert_eq!(site.database.text(counted).await.as_deref(), Some(once));
    let another = TestWebhook::new(site.database.app(), &site.queues);
    assert_eq!(another.post(site.org, &body(5)).await.status, 200);
    let twice = "status-update call.mood 2, status-update message.newField 2";
    assert_eq!(site.database.text(counted).await.as_deref(), Some(twice));
    assert_eq!(site.database.count("call_logs").await, 6, "each message is applied as always");

    let shown = drift::show(&site.database.app(), site.org).await.unwrap();
    let names: Vec<_> = shown.fields.iter().map(|found| (found.field.as_str(), found.messages)).collect();
    assert_eq!(names, [("call.mood", 2), ("message.newField", 2)]);
    let Answer::Inspected { drift, .. } = site.perform(Command::Inspect {}).await else { panic!("another reply") };
    assert_eq!(drift.fields.len(), 2);
}

/// E5: an org has a bounded number of names in an hour.
#[tokio::test]
async fn the_names_of_an_hour_are_bounded() {
    let site = Site::open().await;
    let (credential, call) = (Credential::Org { org_id: site.org, key_version: 1 }, Conversation::default());
    let (app, now) = (site.database.app(), jiff::Timestamp::now());
    for batch in 0..10 {
        let fields: Vec<FieldCount> = (0..50)
            .map(|n| FieldCount {
                message_type: "hang".to_owned(),
                field: format!("message.f{batch}x{n}"),
                messages: 1,
            })
            .collect();
        drift::count_fields(&app, credential, &call, &fields, now).await.unwrap();
    }
    assert_eq!(site.database.count("unknown_fields").await, 200);
    let known = [FieldCount { message_type: "hang".to_owned(), field: "message.f0x0".to_owned(), messages: 7 }];
    drift::count_fields(&app, credential, &call, &known, now).await.unwrap();
    assert_eq!(site.database.count("unknown_fields WHERE messages = 8").await, 1);
}

/// E5: a statement that counts names never holds a webhook up.
#[tokio::test]
async fn a_count_that_hangs_holds_no_webhook_up() {
    let site = Site::open().await;
    let mut superuser = site.database.superuser().await;
    let transaction = superuser.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE unknown_fields IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let body = Call::default().message("status-update", 0, json!({"status": "ringing", "newField": 1}));
    let posted = Box::pin(site.post(&body));
    let reply = tokio::time::timeout(Duration::from_secs(10), posted).await.expect("an answer");
    assert_eq!(reply.status, 200);
    assert_eq!(site.database.count("call_logs").await, 1);
}

/// E5: docs/MESSAGES.md has a row for each type, with the handling of the code.
#[test]
fn the_message_table_is_that_of_the_code() {
    let document = include_str!("../../docs/MESSAGES.md");
    let rows = document.split("## Message types").nth(1).unwrap().split("\n## ").next().unwrap().lines();
    let mut documented: Vec<(String, String)> = rows
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
            Some((cells.next()?.trim_end_matches('`').to_owned(), cells.next()?.to_owned()))
        })
        .collect();
    let mut known: Vec<_> =
        message_types().into_iter().map(|(name, handling)| (name.to_owned(), handling.to_string())).collect();
    documented.sort();
    known.sort();
    assert_eq!(documented, known);
}
