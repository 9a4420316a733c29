//! Pushes that fail.

use aws_lambda_events::sqs::SqsMessage;
use broadcast_retry::MAX_FAILURES;
use ringfence_harness::testing::{Call, eventually};
use ringfence_protocol::Broadcast;
use ringfence_protocol::broadcast::Subject;
use ringfence_vapi::EventKey;

use super::*;

/// B3: a push that failed is repeated through the queue to the viewers that did not receive it.
#[tokio::test]
async fn a_failed_push_is_retried_by_the_queue() {
    let stage = Stage::new().await;
    let (mut first, mut second) = (stage.viewer(stage.org).await, stage.viewer(stage.org).await);
    stage.gateway.fail_next_pushes(1, 500);
    stage.post(&[Call::default().status("ringing", 0)]).await;
    assert_eq!(stage.count("call_logs").await, 1, "the event itself is applied");
    let both = async {
        first.wait_for(1).await;
        second.wait_for(1).await;
    };
    tokio::select! {
        () = stage.broadcast() => unreachable!(),
        () = both => (),
    }
    assert_eq!((first.repeats, second.repeats), (0, 0));
    assert_eq!(stage.queues.dead_broadcasts().await, 0);
}

/// B3: a push that fails permanently ends in the dead-letter queue. The viewer receives the frame with its next resume.
#[tokio::test]
async fn a_push_that_keeps_failing_is_a_dead_letter() {
    let stage = Stage::new().await;
    let mut viewer = stage.viewer(stage.org).await;
    stage.gateway.fail_next_pushes(1, 429);
    stage.post(&[Call::default().status("ringing", 0)]).await;
    let key = stage.database.text("SELECT event_id FROM processed_webhook_events").await.unwrap();
    let connection = stage.database.text("SELECT connection_id FROM live_connections").await.unwrap();
    let last = Broadcast {
        org_id: stage.org,
        subject: Subject::Event { event_key: EventKey::new(key) },
        connections: Some(vec![connection.into()]),
        failures: MAX_FAILURES,
    };
    stage.gateway.fail_next_pushes(1, 500);
    stage.queues.put_broadcast(&serde_json::to_string(&last).unwrap()).await;
    let is_last = |record: &SqsMessage| record.body.as_deref().is_some_and(|body| body.contains("\"failures\":5"));
    let batch = eventually("the broadcast is received", async || {
        let batch = stage.queues.take_broadcasts().await;
        batch.records.iter().any(is_last).then_some(batch)
    })
    .await;
    assert_eq!(stage.broadcaster().consume(batch, in_time()).await.batch_item_failures.len(), 0);
    assert_eq!(stage.queues.dead_broadcasts().await, 1);
    viewer.resume().await;
    assert_eq!(viewer.frames.len(), 1);
}

/// B3, D7: the webhook and the queue's consumer remove a closed connection without a failure.
#[tokio::test]
async fn a_closed_connection_is_deleted() {
    let stage = Stage::new().await;
    let gone = format!(
        "INSERT INTO live_connections (connection_id, org_id, state, expires_at)
            VALUES ('gone=', '{}', 'active', now() + interval '1 hour')",
        stage.org
    );
    stage.database.superuser().await.batch_execute(&gone).await.unwrap();
    let mut viewer = stage.viewer(stage.org).await;
    stage.post(&[Call::default().status("ringing", 0)]).await;
    viewer.wait_for(1).await;
    assert_eq!(stage.count("live_connections WHERE connection_id = 'gone='").await, 0);
    assert!(stage.queues.take_broadcasts().await.records.is_empty());
}

/// B3: a frame that a resume has already covered is not pushed again.
#[tokio::test]
async fn resumed_frames_are_dropped() {
    let stage = Stage::new().await;
    let mut viewer = stage.viewer(stage.org).await;
    stage.gateway.fail_next_pushes(1, 500);
    stage.post(&[Call::default().status("ringing", 0)]).await;
    // With the cursor of the page the viewer confirms everything before it. Other activity on the server decides when
    // the cursor is beyond the event.
    let covered = "live_connections, processed_webhook_events WHERE covered_before > xact";
    eventually("the cursor is beyond the event", async || {
        viewer.resume().await;
        (stage.count(covered).await > 0).then_some(())
    })
    .await;
    assert_eq!(viewer.frames.len(), 1);
    let batch = eventually("the broadcast is received", async || {
        let batch = stage.queues.take_broadcasts().await;
        (!batch.records.is_empty()).then_some(batch)
    })
    .await;
    assert_eq!(stage.broadcaster().consume(batch, in_time()).await.batch_item_failures.len(), 0);
    viewer.send(&json!({"action": "ping"})).await;
    assert_eq!(viewer.next().await.unwrap()["type"], "pong", "nothing was pushed before");
}

/// B3: an invalid broadcast becomes a dead letter without an effect on others. While the database is unavailable, a
/// broadcast stays in the queue.
#[tokio::test]
async fn a_bad_broadcast_does_not_fail_its_neighbours() {
    let stage = Stage::new().await;
    stage.queues.put_broadcast("poison").await;
    let of_nothing = Broadcast::to_all(stage.org, Subject::Event { event_key: EventKey::new("none".to_owned()) });
    stage.queues.put_broadcast(&serde_json::to_string(&of_nothing).unwrap()).await;
    let batch = stage.queues.take_broadcasts().await;
    assert_eq!(batch.records.len(), 2);
    let unavailable = stage.database.app_at(Some("127.0.0.1:1"));
    let worker = Broadcaster {
        database: unavailable,
        connections: stage.queues.connections(),
        queues: stage.queues.of_broadcasts(),
    };
    let without = stage.queues.broadcast_consumer(worker);
    assert_eq!(without.consume(batch.clone(), in_time()).await.batch_item_failures.len(), 1);
    assert_eq!(stage.queues.dead_broadcasts().await, 1);
    assert_eq!(stage.broadcaster().consume(batch, in_time()).await.batch_item_failures.len(), 0);
}
