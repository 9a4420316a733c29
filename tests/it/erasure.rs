//! D11, E3: erasure removes a caller's or a call's data everywhere, and no later delivery restores it.

mod contacts;
mod everywhere;
mod races;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_harness::testing::call::delivery;
use ringfence_harness::testing::{Call, TestDatabase};
use ringfence_protocol::admin::{Command, Erasure, NewAgent, Replayable, Reply, Selection, Target};
use ringfence_protocol::maintenance::Job;
use ringfence_vapi::{EventType, Function, RecordingKind};
use serde_json::{Value, json};
use strum::IntoEnumIterator as _;

use crate::administration::administration;
use crate::recordings::{Stage, wav};

/// Number of a test's calls.
const NUMBER: &str = "+15555550142";

async fn erase(stage: &Stage, erase: Target, run: bool) -> Erasure {
    let administration = administration(&stage.database.url("postgres", None), &stage.queues);
    let act = Command::Erase { actor: "ada".to_owned(), org_id: stage.org, target: erase, run };
    match administration.perform(act).await.unwrap() {
        Reply::Erased(erasure) => erasure,
        other => panic!("{other:?}"),
    }
}

/// Applies all events of a call with a recording. Returns the call and the posted bodies.
async fn whole_call(stage: &Stage) -> (Call, Vec<Value>) {
    let call = Call::default();
    let bodies = vec![
        call.status("in-progress", 0),
        call.transcript("My name is Grace.", 5_000),
        call.message("hang", 6_000, json!({})),
        call.status("ended", 60_000),
    ];
    for body in &bodies {
        assert_eq!(stage.webhook().post(stage.org, body).await.status, 200);
    }
    assert_eq!(stage.record(&call, &wav(1000)).await, 0);
    (call, bodies)
}

/// Every row of every table that contains a text, except the audit log, the tombstones, and the names of objects to
/// delete.
async fn places(stage: &Stage, text: &str) -> Vec<String> {
    let tables = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
        AND table_name NOT IN ('audit_log', 'erasures', 'orphaned_objects', 'call_routes') ORDER BY 1";
    let client = stage.database.superuser().await;
    let mut found = Vec::new();
    for row in client.query(tables, &[]).await.unwrap() {
        let table: String = row.get(0);
        let query = format!("SELECT count(*) FROM {table} t WHERE t::text LIKE '%' || $1::text || '%'");
        let count: i64 = client.query_one(&query, &[&text]).await.unwrap().get(0);
        if count > 0 {
            found.push(format!("{table} {count}"));
        }
    }
    found
}

/// D11: an erasure waits for the first event of the call, which another transaction is applying, and then removes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_event_of_a_call_does_not_survive_its_erasure() {
    let database = TestDatabase::new().await;
    let org = database.org("Acme").await;
    let call = Call::default();
    let delivery = delivery(org, &call.status("in-progress", 0));
    let event = serde_json::to_value(&delivery.event).unwrap();
    let mut app = database.client("ringfence_app").await;
    let transaction = app.transaction().await.unwrap();
    let apply = "SELECT outcome FROM apply_event_v1($1, 1, $2, $3, now())";
    transaction.query_one(apply, &[org.as_uuid(), &delivery.key.as_str(), &event]).await.unwrap();

    let (eraser, id) = (database.superuser().await, call.id.clone());
    let erasing = tokio::spawn(async move {
        eraser.execute("SELECT erase_call_v1('ada', $1, $2, true)", &[org.as_uuid(), &id]).await
    });
    let waiting = "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    while database.count(waiting).await == 0 {
        assert!(!erasing.is_finished(), "the erasure does not wait for the event");
        tokio::task::yield_now().await;
    }
    transaction.commit().await.unwrap();
    erasing.await.unwrap().unwrap();
    for table in ["processed_webhook_events", "call_logs", "call_tracking", "calls"] {
        assert_eq!(database.count(table).await, 0, "{table}");
    }
}

/// D11: an erasure removes a call from every table and the bucket. A dry run only counts. An erasure is audited.
#[tokio::test]
async fn a_call_leaves_every_place() {
    let stage = Stage::new().await;
    let (call, _) = whole_call(&stage).await;
    let (other, _) = whole_call(&stage).await;
    let before = places(&stage, &call.id).await;
    assert!(before.len() >= 6, "{before:?}");

    let counted = erase(&stage, Target::Call(call.id.clone()), false).await;
    assert_eq!((counted.known.calls, counted.known.transcripts, counted.known.recordings), (1, 1, 1));
    assert_eq!(places(&stage, &call.id).await, before, "a dry run changes nothing");
    assert_eq!(stage.database.count("audit_log WHERE action LIKE 'erase%'").await, 0);

    let erased = erase(&stage, Target::Call(call.id.clone()), true).await;
    assert_eq!(erased.known, counted.known);
    assert_eq!(places(&stage, &call.id).await, Vec::<String>::new());
    assert_eq!(stage.queues.stored().await.len(), 2, "objects are maintenance's");
    assert_eq!(stage.maintain(Job::ExpireRecordings, false).await.done, 1);
    assert_eq!(stage.queues.stored().await.len(), 1);
    let audited = "SELECT string_agg(actor || ' ' || subject, ',') FROM audit_log WHERE action = 'erase.call'";
    assert_eq!(stage.text(audited).await, format!("ada {}", call.id));

    // A second erasure finds nothing, and the other call is unchanged.
    assert_eq!(erase(&stage, Target::Call(call.id.clone()), true).await.known.events, 0);
    assert_eq!(places(&stage, &other.id).await, before);
}

/// D11: neither a redelivery, a queued event, a redrive, a replay nor an upload in progress restores an erased call.
#[tokio::test]
async fn nothing_brings_an_erased_call_back() {
    let stage = Stage::new().await;
    let (call, bodies) = whole_call(&stage).await;
    // One event waits in the retry queue, one is a dead letter with its row, and a second recording is being fetched.
    let waiting = ringfence_runtime::envelope::seal(&ringfence_harness::testing::call::delivery(
        stage.org,
        &call.status("ended", 61_000),
    ));
    let ringfence_runtime::envelope::Sealed::Fits(waiting) = waiting.unwrap() else { panic!("it is small") };
    stage.queues.put(Function::CallEnded, &waiting).await;
    stage.execute("ALTER TABLE call_logs ADD CONSTRAINT nobody_ends CHECK (status <> 'completed') NOT VALID").await;
    let (broken, late) = (Call::default(), call.status("ended", 62_000));
    for body in [&broken.status("ended", 0), &late] {
        assert_eq!(stage.webhook().post(stage.org, body).await.status, 200);
    }
    consume(&stage, 3).await;
    stage.execute("ALTER TABLE call_logs DROP CONSTRAINT nobody_ends").await;
    assert_eq!(stage.database.count("failed_operations WHERE state = 'dead'").await, 3);
    let uploader = stage.uploader();

    let erased = erase(&stage, Target::Call(call.id.clone()), true).await;
    assert_eq!((erased.known.failures, erased.dead_letters), (2, 2), "its dead letters are taken out");
    assert_eq!(stage.queues.dead_letters(Function::CallEnded).await.len(), 1, "and no other's");

    for body in bodies.iter().chain([&late]) {
        assert_eq!(stage.webhook().post(stage.org, body).await.status, 200);
    }
    stage.queues.put(Function::CallEnded, &waiting).await;
    consume(&stage, 1).await;
    let admin = stage.database.admin().await;
    let selection = Selection { call_id: Some(call.id.clone()), ..Selection::default() };
    for kind in [Replayable::Applied, Replayable::Failed] {
        assert_eq!(admin.count_replayable(kind, &selection).await.unwrap(), 0);
    }
    stage.queues.recording_queue().send(&[stage.recording(&call, RecordingKind::Mono)]).await.unwrap();
    assert_eq!(crate::recordings::fetch_with(&uploader, stage.queues.take_recording().await).await, 0);
    assert_eq!(places(&stage, &call.id).await, Vec::<String>::new());
    // The SQL functions that can be called on their own report that they did nothing.
    let created = format!(
        "SELECT success || ' ' || error_message FROM create_inbound_call_atomically('{}', '{}', NULL, NULL, NULL, NULL)",
        stage.org, call.id
    );
    assert_eq!(stage.text(&created).await, "false SQLSTATE 40001");
}

/// Runs the function of ended calls on this number of messages.
async fn consume(stage: &Stage, messages: usize) {
    let app = stage.database.app();
    let consumer = stage.queues.consumer(Function::CallEnded, Arc::clone(&app));
    let mut seen = 0;
    while seen < messages {
        let batch = stage.queues.take(Function::CallEnded).await;
        seen += batch.records.len();
        let again = consumer.consume(batch, Instant::now() + Duration::from_mins(5)).await;
        assert!(again.batch_item_failures.is_empty(), "{again:?}");
    }
}

/// D11: an erasure of a number removes its calls and its lead, including queued events. Calls that begin later and
/// calls of other orgs remain.
#[tokio::test]
async fn a_number_leaves_every_place_but_may_call_again() {
    let stage = Stage::new().await;
    let other_org = stage.database.org("Other").await;
    stage.database.lead(stage.org, NUMBER).await;
    let (call, _) = whole_call(&stage).await;
    let theirs = Call::default();
    assert_eq!(stage.webhook().post(other_org, &theirs.status("in-progress", 0)).await.status, 200);

    let counted = erase(&stage, Target::Number(NUMBER.to_owned().into()), false).await;
    assert_eq!((counted.known.calls, counted.leads), (1, 1));
    let erased = erase(&stage, Target::Number(NUMBER.to_owned().into()), true).await;
    assert_eq!((erased.known, erased.leads), (counted.known, 1));
    assert_eq!(places(&stage, &call.id).await, Vec::<String>::new());
    let left = places(&stage, NUMBER).await;
    let of_others =
        stage.database.count(&format!("call_logs WHERE org_id = '{other_org}' AND from_number = '{NUMBER}'")).await;
    assert_eq!(of_others, 1);
    assert!(left.iter().all(|place| place.ends_with(" 1")), "only the other org's: {left:?}");
    assert_eq!(stage.database.count(&format!("audit_log WHERE audit_log::text LIKE '%{NUMBER}%'")).await, 0);
    assert_eq!(stage.database.count(&format!("erasures WHERE erasures::text LIKE '%{NUMBER}%'")).await, 0);

    // An event of an unknown call, created before the erasure.
    let unknown = Call::default();
    assert_eq!(stage.webhook().post(stage.org, &unknown.status("ended", 0)).await.status, 200);
    assert_eq!(places(&stage, &unknown.id).await, Vec::<String>::new());
    // A call that begins after the erasure.
    let mut again = Call::default().status("in-progress", 0);
    let now = jiff::Timestamp::now();
    again["message"]["timestamp"] = json!(now.as_millisecond());
    again["message"]["call"]["createdAt"] = json!(now.to_string());
    assert_eq!(stage.webhook().post(stage.org, &again).await.status, 200);
    assert_eq!(stage.database.count(&format!("call_logs WHERE org_id = '{}'", stage.org)).await, 1);
}

/// D11: Vapi's message that a call was deleted erases it, too.
#[tokio::test]
async fn a_call_that_vapi_deletes_is_erased() {
    let stage = Stage::new().await;
    let (call, bodies) = whole_call(&stage).await;
    let deleted = call.message("call.deleted", 90_000, json!({}));
    for body in bodies.iter().chain([&deleted, &deleted]).chain(&bodies) {
        assert_eq!(stage.webhook().post(stage.org, body).await.status, 200);
    }
    assert_eq!(places(&stage, &call.id).await, Vec::<String>::new());
    assert_eq!(stage.database.count("audit_log WHERE action = 'erase.call' AND actor = 'vapi'").await, 1);
}

/// D11, D13: Vapi deleted a call before its org was known. Its events are dropped, whether an event or `agent add`
/// resolves the org.
#[tokio::test]
async fn an_unresolved_deleted_call_ends_when_its_org_is_known() {
    let stage = Stage::new().await;
    let admin = stage.database.admin().await;
    let agent = |assistant: &str| NewAgent {
        name: "Front desk".to_owned(),
        role: "inbound".to_owned(),
        assistant_id: Some(assistant.to_owned()),
        ..NewAgent::default()
    };
    admin.add_agent(stage.org, &agent("known")).await.unwrap();
    for (kept_by, named_by) in [(None, Some("known")), (Some("added"), None)] {
        let of = |assistant: Option<&str>| assistant.map(str::to_owned);
        let kept = Call { assistant: of(kept_by), phone_number: None, ..Call::default() };
        let deleted = kept.message("call.deleted", 90_000, json!({}));
        for body in
            [kept.status("in-progress", 0), kept.report(60_000, json!({})), deleted, kept.status("ended", 60_000)]
        {
            assert_eq!(stage.webhook().post_platform(&body).await.status, 200);
        }
        assert_eq!(stage.database.count("unresolved_events").await, 4);
        match named_by {
            Some(_) => {
                let named = Call { assistant: of(named_by), ..kept.clone() };
                assert_eq!(stage.webhook().post_platform(&named.transcript("Yes.", 5_000)).await.status, 200);
            }
            None => assert_eq!(admin.add_agent(stage.org, &agent("added")).await.unwrap().events.failed, 0),
        }
        assert_eq!(places(&stage, &kept.id).await, Vec::<String>::new());
        assert_eq!(stage.database.count(&format!("erasures WHERE tombstone = 'call:{}'", kept.id)).await, 1);
    }
    for function in Function::iter() {
        assert!(stage.queues.take(function).await.records.is_empty(), "{function:?}: nothing had to wait");
    }
}

/// D11: an event that is applied during the erasure of its call is erased with it or finds the tombstone.
#[tokio::test]
async fn events_beside_an_erasure_leave_nothing() {
    let stage = Stage::new().await;
    for _ in 0..10 {
        let (call, webhook) = (Call::default(), stage.webhook());
        let bodies: Vec<Value> = (0..8).map(|index| call.transcript("A word.", 1_000 * index)).collect();
        assert_eq!(webhook.post(stage.org, &call.status("in-progress", 0)).await.status, 200);
        let posts = futures_util::future::join_all(bodies.iter().map(|body| webhook.post(stage.org, body)));
        let (replies, _) = tokio::join!(posts, erase(&stage, Target::Call(call.id.clone()), true));
        assert!(replies.iter().all(|reply| reply.status == 200));
        // An event that was refused because of the concurrent erasure is in the queue, and is dropped there.
        loop {
            let app = stage.database.app();
            let batch = stage.queues.take(Function::Transcript).await;
            if batch.records.is_empty() {
                break;
            }
            let consumer = stage.queues.consumer(Function::Transcript, Arc::clone(&app));
            consumer.consume(batch, Instant::now() + Duration::from_mins(5)).await;
        }
        assert_eq!(places(&stage, &call.id).await, Vec::<String>::new());
    }
}

/// The list of stored types, by which an erasure finds a call's events, is complete, and objects have the name that the
/// uploader chooses.
#[tokio::test]
async fn retained_types_and_object_keys_are_those_of_the_code() {
    let stage = Stage::new().await;
    let (call, _) = whole_call(&stage).await;
    let mut types: Vec<&str> = EventType::iter().map(EventType::as_str).collect();
    types.extend(["operation-failed", "recording-ready"]);
    types.sort_unstable();
    let retained =
        stage.text("SELECT string_agg(t, ',' ORDER BY t COLLATE \"C\") FROM unnest(retained_event_types()) t").await;
    assert_eq!(retained, types.join(","));
    let names = stage.text("SELECT string_agg(storage_key || '=' || recording_object(org_id, vapi_call_id, kind), ',') FROM recording_upload_queue").await;
    let (by_uploader, by_erasure) = names.split_once('=').unwrap();
    assert_eq!(by_uploader, by_erasure, "{}", call.id);
}
