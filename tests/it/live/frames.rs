//! Messages to viewers.

use ringfence_core::recordings::{self, Finished, StoredObject};
use ringfence_harness::testing::Call;
use ringfence_protocol::Recording;
use ringfence_vapi::RecordingKind;

use super::*;

const SCHEMA: &str = include_str!("../../../docs/live-frames.schema.json");

fn assert_valid(messages: impl IntoIterator<Item = Value>) {
    let schema = jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    for message in messages {
        let errors: Vec<_> = schema.iter_errors(&message).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{message}: {errors:?}");
    }
}

/// D7: a viewer receives its org's call from ringing to report, and nothing of another org's. A duplicate event causes
/// no frame.
#[tokio::test]
async fn a_viewer_sees_its_orgs_calls_and_no_others() {
    let stage = Stage::new().await;
    let other = stage.database.org("Other").await;
    let (mut viewer, mut others) = (stage.viewer(stage.org).await, stage.viewer(other).await);
    let call = Call::default();
    let bodies = [
        call.status("ringing", 0),
        call.status("in-progress", 4_000),
        call.transcript("A visit, please.", 9_000),
        call.transcript("A visit, please.", 9_000),
        call.message("hang", 12_000, json!({})),
        call.status("ended", 21_300),
        call.report(60_000, json!({})),
    ];
    for body in &bodies {
        assert_eq!(stage.webhook.post(stage.org, body).await.status, 200);
        assert_eq!(stage.webhook.post(other, &Call::default().status("ringing", 0)).await.status, 200);
    }
    viewer.wait_for(5).await;
    let pages = viewer.resume().await;
    assert_eq!(viewer.types(), ["call.status", "call.status", "transcript.final", "call.ended", "call.report"]);
    assert!(viewer.frames.values().all(|frame| frame["call_id"] == call.id.as_str()));
    assert_valid(viewer.frames.into_values().chain(pages));

    others.wait_for(bodies.len()).await;
    others.resume().await;
    assert_eq!((others.frames.len(), others.repeats), (bodies.len(), 0));
    assert!(others.frames.values().all(|frame| frame["call_id"] != call.id.as_str()));
}

/// D7: a pushed frame and the same frame of a resume are equal.
#[tokio::test]
async fn a_resumed_frame_is_the_pushed_one() {
    let stage = Stage::new().await;
    let (mut pushed, mut resumed) = (stage.viewer(stage.org).await, stage.viewer(stage.org).await);
    let call = Call::default();
    stage.post(&[call.status("ringing", 0), call.transcript("Yes.", 5_000), call.report(60_000, json!({}))]).await;
    pushed.wait_for(3).await;
    let cursor = resumed.cursor.take();
    let mut later = stage.viewer(stage.org).await;
    later.cursor = cursor;
    later.resume().await;
    assert_eq!(later.frames, pushed.frames);
}

/// B7, D7: viewers receive a frame when an event first fails and when it becomes a dead letter, pushed or resumed.
#[tokio::test]
async fn a_failed_operation_is_pushed_to_viewers() {
    let stage = Stage::new().await;
    let mut viewer = stage.viewer(stage.org).await;
    let rule = "ALTER TABLE calls ADD CONSTRAINT nobody_ends CHECK (status <> 'completed')";
    stage.database.superuser().await.batch_execute(rule).await.unwrap();
    let call = Call::default();
    stage.post(&[call.status("ended", 0)]).await;
    let function = ringfence_vapi::Function::CallEnded;
    let consumer = stage.queues.consumer(function, Arc::clone(&stage.app));
    let batch = stage.queues.take(function).await;
    consumer.consume(batch, std::time::Instant::now() + TIMEOUT).await;

    viewer.wait_for(1).await;
    let frame = viewer.frames.values().next().unwrap().clone();
    assert_eq!(
        (&frame["type"], &frame["code"], &frame["state"], &frame["event_type"], &frame["call_id"]),
        (&json!("operation.failed"), &json!("RF2001"), &json!("dead"), &json!("status-update"), &json!(call.id))
    );
    viewer.resume().await;
    assert_eq!((viewer.frames.len(), viewer.frames.values().next()), (1, Some(&frame)));
    assert_valid([frame]);
}

/// D7, D8: viewers receive one frame when a recording can be played back, pushed or resumed.
#[tokio::test]
async fn a_stored_recording_is_pushed_to_viewers() {
    let stage = Stage::new().await;
    let call = Call::default();
    stage.post(&[call.report(60_000, json!({}))]).await;
    let mut viewer = stage.viewer(stage.org).await;
    let call_id = call.id.parse().unwrap();
    let recording = Recording { org_id: stage.org, call_id, kind: RecordingKind::Mono };
    let object = StoredObject {
        key: recording.object_key(),
        content_type: "audio/wav".to_owned(),
        bytes: 2000,
        sha256: vec![7; 32],
    };
    let finished = recordings::finish(&stage.app, &recording, &object).await.unwrap();
    let Finished::Stored(Some(news)) = finished else { panic!("{finished:?}") };
    assert_eq!(recordings::finish(&stage.app, &recording, &object).await.unwrap(), Finished::AlreadyStored);
    let mut counts = ringfence_runtime::metrics::Counts::default();
    stage.queues.pusher(std::sync::Arc::clone(&stage.app)).announce(stage.org, &news, &mut counts).await;

    viewer.wait_for(1).await;
    let frame = viewer.frames.values().next().unwrap().clone();
    assert_eq!(
        (&frame["type"], &frame["recording"], &frame["bytes"], &frame["call_id"]),
        (&json!("recording.ready"), &json!("mono"), &json!(2000), &json!(call.id))
    );
    viewer.resume().await;
    assert_eq!((viewer.frames.len(), viewer.frames.values().next()), (1, Some(&frame)));
    assert_valid([frame]);
}

/// D7: the other messages of the server are as documented, too.
#[tokio::test]
async fn the_servers_other_messages_are_as_documented() {
    let stage = Stage::new().await;
    let mut viewer = stage.viewer(stage.org).await;
    viewer.send(&json!({"action": "ping"})).await;
    let pong = viewer.next().await.unwrap();
    viewer.send(&json!("?")).await;
    let error = viewer.next().await.unwrap();
    viewer.cursor = Some(masters().live_tokens().cursor_sealer().seal("99999999999").unwrap());
    let reset = viewer.resume().await.remove(0);
    assert_eq!(reset["type"], "reset");
    stage.database.superuser().await.batch_execute("DELETE FROM live_connections").await.unwrap();
    let expired = viewer.resume().await.remove(0);
    assert_valid([pong, error, reset, expired]);
}
