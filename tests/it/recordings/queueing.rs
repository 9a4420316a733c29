//! Queueing of recordings.

use std::sync::Arc;
use std::time::Instant;

use aws_lambda_events::sqs::SqsEvent;
use ringfence_core::LeaseHolder;
use ringfence_core::recordings::{self, Claimed};
use ringfence_harness::testing::fake_vapi::Reply;
use ringfence_harness::testing::{Call, TestQueues, TestWebhook};
use ringfence_protocol::maintenance::Job;
use ringfence_runtime::recordings::read;
use ringfence_vapi::{FailureCode, Function, RecordingKind};
use serde_json::json;
use strum::IntoEnumIterator as _;

use super::{Stage, TIMEOUT, artifact, half_an_hour, wav};

/// A8: a call without a recording queues nothing, and its state says that it has none.
#[tokio::test]
async fn a_call_without_a_recording_queues_nothing() {
    let (stage, call) = (Stage::new().await, Call::default());
    let body = call.report(60_000, artifact(&json!({"transcript": "AI: Hello."})));
    assert_eq!(stage.webhook().post(stage.org, &body).await.status, 200);
    assert!(stage.rows(&call).await.is_empty());
    assert!(stage.queues.take_recording().await.records.is_empty());
    assert_eq!(stage.shown(&call).await, ("none".to_owned(), None, None));
}

/// A8, D8: the report's transaction queues each kind once, with an encrypted link. One message requests each. A
/// duplicate of the report changes nothing.
#[tokio::test]
async fn a_report_queues_each_kind_once_with_a_sealed_link() {
    let (stage, call) = (Stage::new().await, Call::default());
    let body = call.report(60_000, artifact(&json!({
        "recording": {"stereoUrl": "https://storage.example/stereo.wav", "mono": {"combinedUrl": "https://storage.example/mono.wav"}},
        "presignedMonoUrl": "https://storage.example/mono.wav?X-Amz-Signature=secret",
        "presignedVideoUrl": "https://storage.example/video.mp4?X-Amz-Signature=secret",
        "presignedUrlsExpiresAt": jiff::Timestamp::now() + half_an_hour(),
    })));
    for _ in 0..2 {
        assert_eq!(stage.webhook().post(stage.org, &body).await.status, 200);
    }
    let rows = stage.rows(&call).await;
    let kinds: Vec<_> = rows.iter().map(|row| (row["kind"].as_str().unwrap(), row["link"].is_string())).collect();
    assert_eq!(kinds, [("mono", true), ("stereo", false), ("video", true)]);
    assert!(rows.iter().all(|row| row["state"] == "pending" && row["call_log_id"].is_string()));

    let everything = format!("{:?}", stage.database.everything_of(stage.org).await);
    assert!(!everything.contains("Signature") && !everything.contains("X-Amz"), "{everything}");
    let mut asked = Vec::new();
    loop {
        let SqsEvent { records, .. } = stage.queues.take_recording().await;
        let Some(message) = records.first() else { break };
        asked.push(read(message.body.as_deref().unwrap()).unwrap());
    }
    asked.sort_by_key(|recording| recording.kind);
    assert_eq!(asked, RecordingKind::iter().map(|kind| stage.recording(&call, kind)).collect::<Vec<_>>());
}

/// D1, D8: a report that waited in its queue still has its links, encrypted, and requests its recording when it
/// applies.
#[tokio::test]
async fn a_report_that_waited_in_its_queue_brings_its_links_along() {
    let (stage, call) = (Stage::new().await, Call::default());
    let webhook = TestWebhook::new(stage.database.app_at(Some("127.0.0.1:1")), &stage.queues);
    let body = call.report(
        60_000,
        artifact(&json!({
            "presignedMonoUrl": "https://storage.example/mono.wav?X-Amz-Signature=secret",
            "presignedUrlsExpiresAt": jiff::Timestamp::now() + half_an_hour(),
        })),
    );
    assert_eq!(webhook.post(stage.org, &body).await.status, 200);
    assert!(stage.rows(&call).await.is_empty());

    let batch = stage.queues.take(Function::EndOfCallReport).await;
    let message = batch.records[0].body.clone().unwrap();
    assert!(message.contains(r#""links""#) && !message.contains("Signature"), "{message}");
    let app = stage.database.app();
    let consumer = stage.queues.consumer(Function::EndOfCallReport, Arc::clone(&app));
    let response = consumer.consume(batch, Instant::now() + TIMEOUT).await;
    assert_eq!(response.batch_item_failures.len(), 0);
    assert!(stage.row(&call).await["link"].is_string());
    assert_eq!(stage.queues.take_recording().await.records.len(), 1);
}

/// D8: a later report of the call replaces the link by one that is valid for longer.
#[tokio::test]
async fn a_later_link_takes_the_place_of_an_earlier_one() {
    let (stage, call) = (Stage::new().await, Call::default());
    let body = |summary: &str, minutes| {
        let expires_at = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes);
        let mut body = call.report(60_000, json!({"summary": summary}));
        body["message"]["artifact"]["presignedUrlsExpiresAt"] = json!(expires_at);
        body
    };
    let mut links = Vec::new();
    for (summary, minutes) in [("first", 10), ("second", 20), ("late", 5)] {
        assert_eq!(stage.webhook().post(stage.org, &body(summary, minutes)).await.status, 200);
        links.push(stage.row(&call).await["link"].clone());
    }
    assert_ne!(links[0], links[1]);
    assert_eq!(links[1], links[2]);
}

/// D8: a recording that failed because its link had expired is fetched when a later report contains a valid link.
#[tokio::test]
async fn a_later_report_revives_a_recording_that_was_given_up() {
    let (stage, call) = (Stage::new().await, Call::default());
    stage.report(&call, &stage.vapi.url, jiff::SignedDuration::from_secs(-1)).await;
    assert_eq!(stage.fetch().await, 0);
    assert_eq!(stage.row(&call).await["state"], "dead");

    let link = stage.vapi.put("/file.wav", Reply::File(wav(1000)));
    let mut body = call.report(90_000, json!({"summary": "The final one."}));
    body["message"]["artifact"]["presignedMonoUrl"] = json!(link);
    body["message"]["artifact"]["presignedUrlsExpiresAt"] = json!(jiff::Timestamp::now() + half_an_hour());
    assert_eq!(stage.webhook().post(stage.org, &body).await.status, 200);
    assert_eq!(stage.fetch().await, 0);
    assert_eq!(stage.row(&call).await["state"], "stored");
    assert_eq!(stage.text("SELECT string_agg(state, ';') FROM failed_operations").await, "resolved");
}

/// D8: this also holds if the message of the later report is lost, and the worker with the old link never reports a
/// result.
#[tokio::test]
async fn a_fresh_link_does_not_depend_on_its_message() {
    let (stage, call) = (Stage::new().await, Call::default());
    let unavailable = TestQueues::unavailable().await;
    let webhook = TestWebhook::new(stage.database.app(), &unavailable);
    let body = |summary: &str, minutes| {
        let mut body = call.report(60_000, json!({"summary": summary}));
        let expires_at = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes);
        body["message"]["artifact"]["presignedUrlsExpiresAt"] = json!(expires_at);
        body
    };
    assert_eq!(webhook.post(stage.org, &body("first", 10)).await.status, 200);
    let (app, recording, holder) =
        (stage.database.app(), stage.recording(&call, RecordingKind::Mono), LeaseHolder::random());
    let claimed = recordings::claim(&app, &recording, holder, TIMEOUT).await.unwrap();
    assert!(matches!(claimed, Claimed::Leased(_)));
    assert_eq!(webhook.post(stage.org, &body("second", 20)).await.status, 200);
    let given_up = recordings::fail(&app, &recording, holder, FailureCode::RecordingExpired, None, 1).await.unwrap();
    assert!(given_up.is_none());
    assert_eq!(stage.row(&call).await["state"], "pending");

    let claimed = recordings::claim(&app, &recording, holder, TIMEOUT).await.unwrap();
    assert!(matches!(claimed, Claimed::Leased(_)));
    recordings::fail(&app, &recording, holder, FailureCode::RecordingExpired, None, 2).await.unwrap().unwrap();
    assert_eq!(stage.row(&call).await["state"], "dead");
    assert_eq!(webhook.post(stage.org, &body("third", 30)).await.status, 200);
    assert_eq!(stage.row(&call).await["state"], "pending");
    stage.execute("UPDATE recording_upload_queue SET next_attempt_at = next_attempt_at - interval '3 minutes'").await;
    assert_eq!(stage.maintain(Job::SweepRecordings, false).await.done, 1);
}

/// D8: `call.artifact.upload` queues the available recordings, too, also of a call without a report.
#[tokio::test]
async fn an_upload_of_artifacts_queues_recordings_too() {
    let (stage, call) = (Stage::new().await, Call::default());
    let artifacts = json!([
        {"type": "recording-mono", "success": true}, {"type": "recording-stereo", "success": false},
        {"type": "log", "success": true},
    ]);
    let body = call.message("call.artifact.upload", 70_000, json!({"artifacts": artifacts}));
    assert_eq!(stage.webhook().post(stage.org, &body).await.status, 200);
    let row = stage.row(&call).await;
    assert_eq!((&row["kind"], &row["link"]), (&json!("mono"), &json!(null)));
    assert_eq!(stage.queues.take_recording().await.records.len(), 1);
}

/// D8: the webhook does not depend on the queue. Maintenance sends a lost message once, even if it runs several times.
#[tokio::test]
async fn a_lost_message_is_sent_by_maintenance() {
    let (stage, call) = (Stage::new().await, Call::default());
    let unavailable = TestQueues::unavailable().await;
    let webhook = TestWebhook::new(stage.database.app(), &unavailable);
    assert_eq!(webhook.post(stage.org, &call.report(60_000, json!({}))).await.status, 200);
    assert_eq!(stage.row(&call).await["state"], "pending");
    assert_eq!(stage.maintain(Job::SweepRecordings, false).await.found, 0, "its message may be on its way");

    stage.execute("UPDATE recording_upload_queue SET next_attempt_at = now() - interval '3 minutes'").await;
    let dry = stage.maintain(Job::SweepRecordings, true).await;
    assert_eq!((dry.found, dry.done, dry.dry_run), (1, 0, true));
    assert!(stage.queues.take_recording().await.records.is_empty());
    let (one, other) =
        tokio::join!(stage.maintain(Job::SweepRecordings, false), stage.maintain(Job::SweepRecordings, false));
    assert_eq!(one.done + other.done, 1);
    assert!(!one.more && !other.more);
    let batch = stage.queues.take_recording().await;
    assert_eq!(read(batch.records[0].body.as_deref().unwrap()), Ok(stage.recording(&call, RecordingKind::Mono)));
    assert!(stage.queues.take_recording().await.records.is_empty());
}

/// D8: a worker that died during a fetch is replaced, and stored recordings are not queued again.
#[tokio::test]
async fn abandoned_recordings_are_queued_again_and_stored_ones_are_not() {
    let (stage, kept, left) = (Stage::new().await, Call::default(), Call::default());
    assert_eq!(stage.record(&kept, &wav(1000)).await, 0);
    stage.report(&left, &stage.vapi.url, half_an_hour()).await;
    stage
        .execute(
            "UPDATE recording_upload_queue SET next_attempt_at = now() - interval '1 hour';
            UPDATE recording_upload_queue SET claimed_by = gen_random_uuid(), lease_until = now() - interval '50 minutes'
                WHERE state = 'pending'",
        )
        .await;
    assert_eq!(stage.maintain(Job::SweepRecordings, false).await.done, 1);
}
