//! Partial transcripts.

use ringfence_harness::testing::{Call, Proxy, eventually};

use super::*;

fn partial(call: &Call, text: &str) -> Value {
    let fields = json!({"transcriptType": "partial", "role": "user", "transcript": text});
    call.message("transcript", 5_000, fields)
}

impl Stage {
    /// Sets the time of each call's last pushed partial transcript to this number of milliseconds ago.
    async fn passed_ago(&self, ms: i32) {
        let change = format!("UPDATE partial_gates SET passed_at = clock_timestamp() - interval '{ms} ms'");
        self.database.superuser().await.batch_execute(&change).await.unwrap();
    }
}

/// D7: partial transcripts are pushed at most four times per second and call, and are not stored. Final transcripts are
/// always pushed.
#[tokio::test]
async fn partials_pass_a_gate_and_finals_always() {
    let stage = Stage::new().await;
    let mut viewer = stage.viewer(stage.org).await;
    let (call, other) = (Call::default(), Call::default());
    stage.post(&[partial(&call, "I")]).await;
    stage.passed_ago(-3_600_000).await;
    stage.post(&[partial(&call, "I would"), partial(&other, "Another call"), call.transcript("I would.", 6_000)]).await;
    stage.passed_ago(251).await;
    stage.post(&[partial(&call, "And then"), call.transcript("And then.", 7_000)]).await;
    viewer.wait_for(2).await;
    let texts: Vec<_> = viewer.partials.iter().filter_map(|frame| frame["text"].as_str()).collect();
    assert_eq!(texts, ["I", "Another call", "And then"]);
    assert_eq!(stage.count("processed_webhook_events").await, 2);
    viewer.resume().await;
    assert_eq!(viewer.types(), ["transcript.final"; 2]);
}

/// D7: for an org without viewers, a partial transcript causes one read and no write.
#[tokio::test]
async fn without_viewers_nothing_is_written() {
    let stage = Stage::new().await;
    stage.post(&[partial(&Call::default(), "I")]).await;
    assert_eq!(stage.count("partial_gates").await, 0);
    let wire = Proxy::start().await;
    let webhook = TestWebhook::new(stage.database.app_at(Some(&wire.address)), &stage.queues);
    for _ in 0..2 {
        let _ = wire.take_round_trips();
        assert_eq!(webhook.post(stage.org, &partial(&Call::default(), "I")).await.status, 200);
    }
    assert_eq!(wire.take_round_trips(), 1, "over a warm connection");
    let other = stage.database.org("Other").await;
    let mut viewer = stage.viewer(other).await;
    stage.post(&[partial(&Call::default(), "I")]).await;
    viewer.send(&json!({"action": "ping"})).await;
    assert_eq!(viewer.next().await.unwrap()["type"], "pong", "and another org's viewer sees nothing");
}

/// D5, D13: the partial transcript of a platform event belongs to the org of its call. With a revoked key it is not
/// pushed.
#[tokio::test]
async fn a_partial_is_its_orgs() {
    let stage = Stage::new().await;
    let mut viewer = stage.viewer(stage.org).await;
    let call = Call::default();
    stage.database.agent(stage.org, call.assistant.as_deref().unwrap()).await;
    assert_eq!(stage.webhook.post_platform(&partial(&call, "By the platform")).await.status, 200);
    let nobodys = Call { assistant: None, phone_number: None, ..Call::default() };
    assert_eq!(stage.webhook.post_platform(&partial(&nobodys, "Nobody's")).await.status, 200);
    stage.database.admin().await.rotate_key(stage.org, Duration::ZERO).await.unwrap();
    stage.post(&[partial(&Call::default(), "Revoked")]).await;
    viewer.send(&json!({"action": "ping"})).await;
    let frame = viewer.next().await.unwrap();
    assert_eq!((&frame["type"], &frame["text"]), (&json!("transcript.partial"), &json!("By the platform")));
    assert_eq!(viewer.next().await.unwrap()["type"], "pong");
}

/// D7: with many viewers a partial transcript is pushed through the queue, and is dropped there when it is outdated.
#[tokio::test]
async fn partials_for_many_viewers_do_not_linger() {
    let stage = Stage::new().await;
    let mut viewers = futures_util::future::join_all((0..11).map(|_| stage.viewer(stage.org))).await;
    stage.post(&[partial(&Call::default(), "Now")]).await;
    let batch = eventually("the broadcast is received", async || {
        let batch = stage.queues.take_broadcasts().await;
        (!batch.records.is_empty()).then_some(batch)
    })
    .await;
    let mut outdated = batch.clone();
    let mut body: Value = serde_json::from_str(outdated.records[0].body.as_deref().unwrap()).unwrap();
    body["received_at"] = json!("2026-01-01T00:00:00Z");
    outdated.records[0].body = Some(body.to_string());
    assert_eq!(stage.broadcaster().consume(outdated, in_time()).await.batch_item_failures.len(), 0);
    body["received_at"] = json!(Timestamp::now());
    body["frame"]["text"] = json!("Fresh");
    let mut fresh = batch;
    fresh.records[0].body = Some(body.to_string());
    assert_eq!(stage.broadcaster().consume(fresh, in_time()).await.batch_item_failures.len(), 0);
    for viewer in &mut viewers {
        assert_eq!(viewer.next().await.unwrap()["text"], "Fresh");
    }
}
