//! Fetching recordings into the bucket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use ringfence_egress::EgressPolicy;
use ringfence_harness::testing::fake_vapi::{Asked, Reply};
use ringfence_harness::testing::webhook::masters;
use ringfence_harness::testing::{Call, Proxy, eventually};
use serde_json::json;
use tokio::sync::Semaphore;

use super::{Stage, artifact, fetch_with, half_an_hour, sha256, wav};

/// More than one part.
const LARGE: usize = 20 * 1024 * 1024 + 123;

/// A8, D8: a recording becomes one complete object, and its length and checksum are in the rows of its call.
#[tokio::test]
async fn a_recording_is_fetched_and_stored() {
    for bytes in [1000, LARGE] {
        let (stage, call, file) = (Stage::new().await, Call::default(), wav(bytes));
        assert_eq!(stage.record(&call, &file).await, 0);
        let key = format!("{}/{}/mono", stage.org, call.id);
        assert_eq!(stage.queues.stored().await, [key.as_str()]);
        let (object, content_type) = stage.object(&key).await;
        assert!(object == file, "{} and {} bytes", object.len(), file.len());
        assert_eq!(content_type, "audio/wav", "what it is, and not what its sender called it");

        let row = stage.row(&call).await;
        assert_eq!((&row["state"], &row["storage_key"], &row["bytes"]), (&json!("stored"), &json!(key), &json!(bytes)));
        assert_eq!(row["sha256"], format!("\\x{}", sha256(&file)));
        assert!(row["link"].is_null() && row["lease_until"].is_null() && row["code"].is_null(), "{row}");
        assert_eq!(stage.shown(&call).await, ("stored".to_owned(), Some(key.clone()), Some(key)));
        assert_eq!(stage.database.count("processed_webhook_events WHERE event_type = 'recording-ready'").await, 1);
    }
}

/// D8: an expired link is not tried. Vapi's API returns a new one, and the org's key is sent to Vapi only.
#[tokio::test]
async fn with_the_orgs_key_an_expired_link_is_no_loss() {
    let (stage, call, file) = (Stage::new().await, Call::default(), wav(5000));
    let sealed = masters().api_key_sealer().seal(stage.org, "private-key").unwrap();
    assert!(stage.database.admin().await.set_vapi_key(stage.org, Some(&sealed)).await.unwrap());
    let fresh = stage.vapi.put("/fresh.wav", Reply::File(file.clone()));
    let endpoint = format!("/call/{}/mono-recording", call.id);
    stage.vapi.put(&endpoint, Reply::Redirect(fresh));

    let dead = stage.vapi.put("/dead.wav", Reply::File(wav(100)));
    stage.report(&call, &dead, SignedDuration::from_secs(-1)).await;
    assert_eq!(stage.fetch().await, 0);
    let asked = |path: &str, authorization: Option<&str>| Asked {
        path: path.to_owned(),
        authorization: authorization.map(str::to_owned),
    };
    assert_eq!(stage.vapi.asked(), [asked(&endpoint, Some("Bearer private-key")), asked("/fresh.wav", None)]);
    assert_eq!(stage.row(&call).await["sha256"], format!("\\x{}", sha256(&file)));
    let everything = format!("{:?}", stage.database.everything_of(stage.org).await);
    assert!(!everything.contains("private-key"), "{everything}");
}

/// D8: a link that does not work yet is tried again, even if the org's key is no longer valid at Vapi.
#[tokio::test]
async fn a_bad_key_does_not_spoil_a_link_that_lags() {
    let (stage, call, file) = (Stage::new().await, Call::default(), wav(5000));
    let sealed = masters().api_key_sealer().seal(stage.org, "revoked").unwrap();
    stage.database.admin().await.set_vapi_key(stage.org, Some(&sealed)).await.unwrap();
    stage.vapi.put(&format!("/call/{}/mono-recording", call.id), Reply::Status(401));
    let link = stage.vapi.put("/file.wav", Reply::Status(404));
    stage.report(&call, &link, half_an_hour()).await;
    let batch = stage.queues.take_recording().await;
    assert_eq!(fetch_with(&stage.uploader(), batch.clone()).await, 1);
    let row = stage.row(&call).await;
    assert_eq!((&row["state"], &row["code"]), (&json!("pending"), &json!("RF8002")));
    stage.vapi.put("/file.wav", Reply::File(file));
    assert_eq!(fetch_with(&stage.uploader(), batch).await, 0);
    assert_eq!(stage.row(&call).await["state"], "stored");
}

/// D8: a fetch that takes too long is aborted and repeated later.
#[tokio::test]
async fn a_recording_that_takes_too_long_leaves_no_part() {
    let (stage, call, file) = (Stage::new().await, Call::default(), wav(LARGE));
    let link = stage.vapi.put("/file.wav", Reply::Stalls(file[..LARGE / 2].to_vec()));
    stage.report(&call, &link, half_an_hour()).await;
    let batch = stage.queues.take_recording().await;
    // Two seconds more than the reserve.
    let response = stage.uploader().consume(batch, Instant::now() + Duration::from_secs(32)).await;
    assert_eq!(response.batch_item_failures.len(), 1);
    let row = stage.row(&call).await;
    assert_eq!((&row["state"], &row["code"]), (&json!("pending"), &json!("RF8006")));
    let bucket = stage.queues.bucket();
    let uploads = bucket.client.list_multipart_uploads().bucket(&bucket.name).send().await.unwrap();
    assert_eq!(uploads.uploads.unwrap_or_default().len(), 0);
}

/// D8: a link that the storage refuses is treated as expired, whatever its expiry time is.
#[tokio::test]
async fn a_link_that_is_refused_has_expired() {
    let (stage, call) = (Stage::new().await, Call::default());
    let link = stage.vapi.put("/refused.wav", Reply::Status(403));
    stage.report(&call, &link, half_an_hour()).await;
    assert_eq!(stage.fetch().await, 0);
    assert_eq!(stage.queues.dead_recordings().await, ["RF8001"]);
    assert_eq!(stage.row(&call).await["state"], "dead");
}

/// D8: if two workers receive one recording, one fetches it and the other waits. There is one object and one row.
#[tokio::test]
async fn two_workers_fetch_a_recording_once() {
    let (stage, call, file) = (Stage::new().await, Call::default(), wav(LARGE));
    let permits = Arc::new(Semaphore::new(0));
    let link = stage.vapi.put("/slow.wav", Reply::FileLater(Arc::clone(&permits), file.clone()));
    stage.report(&call, &link, half_an_hour()).await;
    let batch = stage.queues.take_recording().await;
    let (one, other) = (stage.uploader(), stage.uploader());
    let second = async {
        stage.vapi.until(1).await;
        let again = fetch_with(&other, batch.clone()).await;
        permits.add_permits(2);
        again
    };
    let (first, second) = tokio::join!(fetch_with(&one, batch.clone()), second);
    assert_eq!((first, second), (0, 1));
    assert_eq!(fetch_with(&other, batch.clone()).await, 0, "and then there is nothing left to do");
    assert_eq!((stage.vapi.asked().len(), stage.queues.stored().await.len()), (1, 1));
    assert_eq!(stage.row(&call).await["attempts"], 1);
}

/// D8: if a worker's lease has ended but the worker finishes, there is still one object, and the rows are the same.
#[tokio::test]
async fn a_worker_that_was_taken_for_dead_changes_nothing() {
    let (stage, call, file) = (Stage::new().await, Call::default(), wav(LARGE));
    let permits = Arc::new(Semaphore::new(0));
    let link = stage.vapi.put("/slow.wav", Reply::FileLater(Arc::clone(&permits), file.clone()));
    stage.report(&call, &link, half_an_hour()).await;
    let batch = stage.queues.take_recording().await;
    let (slow, quick) = (stage.uploader(), stage.uploader());
    let takeover = async {
        stage.vapi.until(1).await;
        stage.vapi.put("/slow.wav", Reply::File(file.clone()));
        stage.execute("UPDATE recording_upload_queue SET lease_until = now() - interval '1 second'").await;
        assert_eq!(fetch_with(&quick, batch.clone()).await, 0);
        let rows = stage.database.everything_of(stage.org).await;
        permits.add_permits(1);
        rows
    };
    let (again, rows) = tokio::join!(fetch_with(&slow, batch.clone()), takeover);
    assert_eq!(again, 0);
    assert_eq!(stage.database.everything_of(stage.org).await, rows);
    assert_eq!(stage.queues.stored().await.len(), 1);
    assert_eq!(rows["recording_upload_queue"].matches("\"attempts\": 2").count(), 1);
}

/// D8: a worker that dies during the upload leaves no object, and the next one starts again. (The drill `recordings`
/// kills a real process.)
#[tokio::test]
async fn a_worker_that_dies_leaves_no_half_object() {
    let (stage, call, file) = (Stage::new().await, Call::default(), wav(LARGE));
    let link = stage.vapi.put("/file.wav", Reply::Stalls(file[..LARGE / 2].to_vec()));
    stage.report(&call, &link, half_an_hour()).await;
    let batch = stage.queues.take_recording().await;
    let uploader = stage.uploader();
    let (bucket, died) = (stage.queues.bucket(), fetch_with(&uploader, batch.clone()));
    let uploads = async || {
        let uploads = bucket.client.list_multipart_uploads().bucket(&bucket.name).send().await.unwrap();
        uploads.uploads.unwrap_or_default().len()
    };
    tokio::select! {
        _ = died => panic!("the source says nothing"),
        // It has begun to upload parts.
        () = eventually("the upload begins", async || (uploads().await > 0).then_some(())) => {}
    }
    assert!(stage.queues.stored().await.is_empty());
    assert_eq!(stage.row(&call).await["state"], "pending");

    stage.vapi.put("/file.wav", Reply::File(file.clone()));
    stage.execute("UPDATE recording_upload_queue SET lease_until = now() - interval '1 second'").await;
    assert_eq!(fetch_with(&stage.uploader(), batch).await, 0);
    assert_eq!(stage.row(&call).await["sha256"], format!("\\x{}", sha256(&file)));
}

/// D8: the object exists but the database was not updated. The next attempt finds the complete object and does not
/// fetch the recording again.
#[tokio::test]
async fn an_object_that_is_there_is_not_fetched_again() {
    let (stage, call, file) = (Stage::new().await, Call::default(), wav(LARGE));
    let permits = Arc::new(Semaphore::new(0));
    let link = stage.vapi.put("/file.wav", Reply::FileLater(Arc::clone(&permits), file.clone()));
    stage.report(&call, &link, half_an_hour()).await;
    let batch = stage.queues.take_recording().await;
    let proxy = Proxy::start().await;
    let uploader =
        stage.uploader_with(stage.database.app_at(Some(&proxy.address)), EgressPolicy::Anywhere, "127.0.0.1");
    let cut = async {
        stage.vapi.until(1).await;
        proxy.refuse(true);
        proxy.cut();
        permits.add_permits(1);
    };
    let (again, ()) = tokio::join!(fetch_with(&uploader, batch.clone()), cut);
    assert_eq!((again, stage.queues.stored().await.len()), (1, 1));
    assert_eq!(stage.row(&call).await["state"], "pending");

    stage.vapi.put("/file.wav", Reply::Status(410));
    stage.execute("UPDATE recording_upload_queue SET lease_until = now() - interval '1 second'").await;
    assert_eq!(fetch_with(&stage.uploader(), batch).await, 0);
    let row = stage.row(&call).await;
    assert_eq!(
        (&row["state"], &row["content_type"], &row["bytes"]),
        (&json!("stored"), &json!("audio/wav"), &json!(LARGE))
    );
    assert_eq!(row["sha256"], format!("\\x{}", sha256(&file)));
    assert_eq!(stage.vapi.asked().len(), 1);
}

/// D2, D8: the kinds of a call's recordings decide which one is shown, not their order of arrival.
#[tokio::test]
async fn the_mono_recording_is_shown_in_any_order() {
    for order in [["mono", "stereo"], ["stereo", "mono"]] {
        let (stage, call) = (Stage::new().await, Call::default());
        let link = |kind: &str| stage.vapi.put(&format!("/{kind}.wav"), Reply::File(wav(1000)));
        let body = call.report(
            60_000,
            artifact(&json!({
                "presignedMonoUrl": link("mono"), "presignedStereoUrl": link("stereo"),
                "presignedUrlsExpiresAt": jiff::Timestamp::now() + half_an_hour(),
            })),
        );
        assert_eq!(stage.webhook().post(stage.org, &body).await.status, 200);
        let batches = [stage.queues.take_recording().await, stage.queues.take_recording().await];
        for kind in order {
            let is_it = |body: &Option<String>| body.as_ref().is_some_and(|body| body.contains(kind));
            let batch = batches.iter().find(|batch| is_it(&batch.records[0].body)).unwrap();
            assert_eq!(fetch_with(&stage.uploader(), batch.clone()).await, 0);
        }
        let key = format!("{}/{}/mono", stage.org, call.id);
        assert_eq!(stage.shown(&call).await, ("stored".to_owned(), Some(key.clone()), Some(key)));
    }
}
