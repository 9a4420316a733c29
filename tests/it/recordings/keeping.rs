//! Retention of recordings.

use ringfence_core::recordings::{self, Finished, StoredObject};
use ringfence_harness::testing::Call;
use ringfence_protocol::admin::{Replayable, RetainedData, Selection};
use ringfence_protocol::maintenance::Job;
use ringfence_vapi::RecordingKind;
use serde_json::json;

use super::{Stage, wav};

/// D8: recordings are removed after the retention of their org. Nothing restores them, not even a replay of the report.
#[tokio::test]
async fn a_recording_is_removed_after_its_orgs_retention() {
    let (stage, old, new) = (Stage::new().await, Call::default(), Call::default());
    for call in [&old, &new] {
        assert_eq!(stage.record(call, &wav(1000)).await, 0);
    }
    let age = format!(
        "UPDATE recording_upload_queue SET stored_at = now() - interval '8 days' WHERE vapi_call_id = '{}'",
        old.id
    );
    stage.execute(&age).await;
    assert_eq!(stage.maintain(Job::ExpireRecordings, false).await.found, 0, "without a retention all are kept");

    assert!(stage.database.admin().await.set_retention(stage.org, RetainedData::Recordings, Some(7)).await.unwrap());
    assert_eq!(stage.maintain(Job::ExpireRecordings, true).await.found, 1);
    assert_eq!(stage.queues.stored().await.len(), 2, "a dry run removes nothing");
    let report = stage.maintain(Job::ExpireRecordings, false).await;
    assert_eq!((report.found, report.done, report.more), (1, 1, false));
    assert_eq!(stage.queues.stored().await, [format!("{}/{}/mono", stage.org, new.id)]);
    assert_eq!(stage.row(&old).await["state"], "removed");
    assert_eq!(stage.shown(&old).await, ("removed".to_owned(), None, None));
    assert_eq!(stage.shown(&new).await.0, "stored");

    let replayed =
        stage.database.admin().await.replay(Replayable::Applied, None, &Selection::default(), None, 100).await.unwrap();
    assert!(replayed.failed == 0 && replayed.replayed >= 2, "{replayed:?}");
    assert_eq!(stage.shown(&old).await, ("removed".to_owned(), None, None));
    assert_eq!(stage.row(&old).await["state"], "removed");
    assert_eq!(stage.maintain(Job::ExpireRecordings, false).await.found, 0);
    assert_eq!(stage.database.count("audit_log WHERE action = 'retention.set'").await, 1);
}

/// D8: an object that cannot be removed causes an error for the alarm, and does not block other recordings.
#[tokio::test]
async fn an_object_that_cannot_be_removed_keeps_no_other() {
    let (stage, locked, other) = (Stage::new().await, Call::default(), Call::default());
    for call in [&locked, &other] {
        assert_eq!(stage.record(call, &wav(1000)).await, 0);
    }
    stage.database.admin().await.set_retention(stage.org, RetainedData::Recordings, Some(1)).await.unwrap();
    // S3 refuses an empty key, and the row with it is the older one.
    let age = format!(
        "ALTER TABLE recording_upload_queue DROP CONSTRAINT recording_upload_queue_storage_key_own;
        UPDATE recording_upload_queue SET stored_at = now() - interval '2 days';
        UPDATE recording_upload_queue SET stored_at = now() - interval '3 days', storage_key = '' WHERE vapi_call_id = '{}'",
        locked.id
    );
    stage.execute(&age).await;
    let order = ringfence_protocol::maintenance::JobRequest { job: Job::ExpireRecordings, dry_run: false };
    let result = stage.maintenance().run(order, std::time::Instant::now()).await;
    assert_eq!(result.unwrap_err().code, ringfence_vapi::FailureCode::RecordingStorage);
    assert_eq!(
        (&stage.row(&locked).await["state"], &stage.row(&other).await["state"]),
        (&json!("stored"), &json!("removed"))
    );
}

/// D11: finishing or removing a recording of an erased call restores none of its rows.
#[tokio::test]
async fn an_erased_call_is_not_restored() {
    let (stage, call) = (Stage::new().await, Call::default());
    let (app, recording) = (stage.database.app(), stage.recording(&call, RecordingKind::Mono));
    let object =
        StoredObject { key: "k".to_owned(), content_type: "audio/wav".to_owned(), bytes: 1, sha256: vec![0; 32] };
    assert!(matches!(recordings::finish(&app, &recording, &object).await, Ok(Finished::Removed)));
    assert!(matches!(recordings::remove(&app, &recording).await, Ok(false)));
    for table in ["calls", "call_logs", "call_tracking"] {
        assert_eq!(stage.database.count(table).await, 0, "{table}");
    }
}

/// If a run removes the object and dies before it updates the row, the next run updates it.
#[tokio::test]
async fn an_object_that_no_longer_exists_is_ignored() {
    let (stage, call) = (Stage::new().await, Call::default());
    assert_eq!(stage.record(&call, &wav(1000)).await, 0);
    stage.database.admin().await.set_retention(stage.org, RetainedData::Recordings, Some(1)).await.unwrap();
    stage.execute("UPDATE recording_upload_queue SET stored_at = now() - interval '2 days'").await;
    stage.queues.bucket().delete(&format!("{}/{}/mono", stage.org, call.id)).await.unwrap();
    let (one, other) =
        tokio::join!(stage.maintain(Job::ExpireRecordings, false), stage.maintain(Job::ExpireRecordings, false));
    assert_eq!(one.done + other.done, 1);
    assert_eq!(stage.shown(&call).await.0, "removed");
}
