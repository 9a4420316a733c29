//! Recordings that are not fetched, and the resulting states.

use jiff::SignedDuration;
use recording_upload::MAX_BYTES;
use ringfence_egress::EgressPolicy;
use ringfence_harness::testing::Call;
use ringfence_harness::testing::fake_vapi::Reply;
use ringfence_harness::testing::webhook::masters;
use ringfence_protocol::admin::{Command, Selection};
use serde_json::json;

use super::{Stage, fetch_with, half_an_hour, wav};
use crate::administration::administration;

/// D8: a link to the instance's metadata, to this machine by address or name, or to a host that is not Vapi's is
/// refused before a request is sent. The same holds for a link that redirects there.
#[tokio::test]
async fn a_link_into_this_network_is_refused() {
    let stage = Stage::new().await;
    let port = stage.vapi.url.rsplit(':').next().unwrap().to_owned();
    let (away, inside) = (
        stage.vapi.put("/away.wav", Reply::Redirect("http://169.254.169.254/latest/meta-data".to_owned())),
        stage.vapi.put("/inside.wav", Reply::Redirect(format!("{}/file.wav", stage.vapi.url))),
    );
    let everywhere = "127.0.0.1,localhost,169.254.169.254";
    for (link, reach, hosts, asked) in [
        ("https://169.254.169.254/latest/meta-data".to_owned(), EgressPolicy::Public, everywhere, 0),
        (format!("https://localhost:{port}/file.wav"), EgressPolicy::Public, everywhere, 0),
        (format!("https://127.0.0.1:{port}/file.wav"), EgressPolicy::Public, everywhere, 0),
        (format!("http://127.0.0.1:{port}/file.wav"), EgressPolicy::Public, everywhere, 0),
        (format!("http://127.0.0.1:{port}/file.wav"), EgressPolicy::Anywhere, "*.vapi.ai", 0),
        (away, EgressPolicy::Anywhere, everywhere, 1),
        (inside, EgressPolicy::Anywhere, everywhere, 1),
    ] {
        let (call, before) = (Call::default(), stage.vapi.asked().len());
        stage.report(&call, &link, half_an_hour()).await;
        let uploader = stage.uploader_with(stage.database.app(), reach, hosts);
        assert_eq!(fetch_with(&uploader, stage.queues.take_recording().await).await, 0, "{link}");
        let row = stage.row(&call).await;
        assert_eq!((&row["state"], &row["code"]), (&json!("dead"), &json!("RF8003")), "{link}");
        assert_eq!(stage.vapi.asked().len() - before, asked, "{link}");
        assert_eq!(stage.queues.dead_recordings().await, ["RF8003"], "{link}");
    }
    assert!(stage.queues.stored().await.is_empty());
}

/// A stage whose org has an API key.
async fn stage_with_api_key() -> Stage {
    let stage = Stage::new().await;
    let sealed = masters().api_key_sealer().seal(stage.org, "private-key").unwrap();
    stage.database.admin().await.set_vapi_key(stage.org, Some(&sealed)).await.unwrap();
    stage
}

/// D8: redirects of Vapi's API are checked in the same way.
#[tokio::test]
async fn where_vapis_api_leads_is_checked_too() {
    for (reply, code, state) in [
        (Some(Reply::Redirect("http://169.254.169.254/".to_owned())), "RF8003", "dead"),
        // A host that redirects again.
        (None, "RF8003", "dead"),
        (Some(Reply::Redirect("/relative".to_owned())), "RF8003", "dead"),
        (Some(Reply::Status(401)), "RF8007", "dead"),
        (Some(Reply::Status(404)), "RF8002", "pending"),
        (Some(Reply::Status(429)), "RF8006", "pending"),
        (Some(Reply::Status(500)), "RF8006", "pending"),
    ] {
        // A separate queue, because the message of a failed case is delivered again.
        let stage = stage_with_api_key().await;
        let onwards = || Reply::Redirect(stage.vapi.put("/onwards", Reply::Redirect(stage.vapi.url.clone())));
        let call = Call::default();
        stage.vapi.put(&format!("/call/{}/mono-recording", call.id), reply.unwrap_or_else(onwards));
        stage.report(&call, &stage.vapi.url, SignedDuration::from_secs(-1)).await;
        let batch = stage.queues.take_recording().await;
        let again =
            fetch_with(&stage.uploader_with(stage.database.app(), EgressPolicy::Anywhere, "127.0.0.1"), batch).await;
        let row = stage.row(&call).await;
        assert_eq!((row["code"].as_str(), row["state"].as_str()), (Some(code), Some(state)));
        assert_eq!(again, usize::from(state == "pending"), "{code}");
    }
}

/// D8: an API key that was sealed with another master key cannot be opened.
#[tokio::test]
async fn an_api_key_of_another_master_is_refused() {
    let (stage, call) = (stage_with_api_key().await, Call::default());
    stage.execute("UPDATE vapi_credentials SET api_key = 'z.AAAA'").await;
    stage.report(&call, &stage.vapi.url, SignedDuration::from_secs(-1)).await;
    stage.fetch().await;
    assert_eq!(stage.row(&call).await["code"], "RF8007");
}

/// D8: the fetch of a file that is too large is not started. A file that ends early is fetched again, and no object is
/// created from its part.
#[tokio::test]
async fn a_file_that_is_too_large_or_cut_short_makes_no_object() {
    for (reply, code, state) in [
        (Reply::Claims(MAX_BYTES + 1), "RF8004", "dead"),
        (Reply::Beginning(wav(9 * 1024 * 1024)), "RF8006", "pending"),
        (Reply::Beginning(wav(1000)), "RF8006", "pending"),
        (Reply::File(Vec::new()), "RF8002", "pending"),
        (Reply::Status(404), "RF8002", "pending"),
        (Reply::Status(503), "RF8006", "pending"),
    ] {
        // A separate queue, because the message of a failed case is delivered again.
        let stage = Stage::new().await;
        let call = Call::default();
        let link = stage.vapi.put("/file.wav", reply);
        stage.report(&call, &link, half_an_hour()).await;
        let again = stage.fetch().await;
        let row = stage.row(&call).await;
        assert_eq!((row["code"].as_str(), row["state"].as_str()), (Some(code), Some(state)));
        assert_eq!(again, usize::from(state == "pending"), "{code}");
        assert!(row["lease_until"].is_null(), "{row}");
        assert!(stage.queues.stored().await.is_empty());
        let bucket = stage.queues.bucket();
        let uploads = bucket.client.list_multipart_uploads().bucket(&bucket.name).send().await.unwrap();
        assert!(uploads.uploads().is_empty(), "what was begun is aborted");
    }
}

/// D8: Vapi's recordings may become available after their report, but only within two hours.
#[tokio::test]
async fn a_recording_missing_for_two_hours_is_a_dead_letter() {
    let (stage, call) = (Stage::new().await, Call::default());
    stage.report(&call, &format!("{}/nothing.wav", stage.vapi.url), half_an_hour()).await;
    stage.execute("UPDATE recording_upload_queue SET created_at = now() - interval '121 minutes'").await;
    assert_eq!(stage.fetch().await, 0);
    assert_eq!(stage.queues.dead_recordings().await, ["RF8002"]);
}

/// An unavailable bucket is a transient failure.
#[tokio::test]
async fn a_recording_waits_for_an_unavailable_bucket() {
    let (stage, call) = (Stage::new().await, Call::default());
    let link = stage.vapi.put("/file.wav", Reply::File(wav(1000)));
    stage.report(&call, &link, half_an_hour()).await;
    let mut uploader = stage.uploader();
    uploader.worker.bucket.name = "no-such-bucket".to_owned();
    assert_eq!(fetch_with(&uploader, stage.queues.take_recording().await).await, 1);
    assert_eq!(stage.row(&call).await["code"], "RF8005");
}

/// A message that is not about a recording becomes a dead letter at once.
#[tokio::test]
async fn a_message_that_names_no_recording_is_a_dead_letter() {
    let stage = Stage::new().await;
    stage.queues.put_recording("{}").await;
    assert_eq!(stage.fetch().await, 0);
    assert_eq!(stage.queues.dead_recordings().await, ["RF2003"]);
}

/// B7, D8: a recording that failed is a failed operation with its attempts. After a redrive it is fetched, and the
/// failure is resolved. Its messages and rows can be selected by org, call and code.
#[tokio::test]
async fn a_recording_that_failed_is_seen_and_redriven() {
    let (stage, call) = (Stage::new().await, Call::default());
    let link = stage.vapi.put("/file.wav", Reply::Status(403));
    stage.report(&call, &link, half_an_hour()).await;
    assert_eq!(stage.fetch().await, 0);
    let failures =
        "SELECT string_agg(concat_ws(' ', function, event_type, state, code, receives), ';') FROM failed_operations";
    assert_eq!(stage.text(failures).await, "recording-upload recording dead RF8001 1");
    assert_eq!(stage.database.count("failed_attempts WHERE function = 'recording-upload'").await, 1);
    assert_eq!(stage.database.count("processed_webhook_events WHERE event_type = 'operation-failed'").await, 1);

    let administration = administration(&stage.database.url("postgres", None), &stage.queues);
    let redrive = async |call_id: &str| {
        let selection = Selection {
            call_id: Some(call_id.to_owned()),
            event_type: Some("recording".to_owned()),
            code: Some("RF8001".parse().unwrap()),
            ..Selection::default()
        };
        let (actor, id) = ("ada".to_owned(), uuid::Uuid::new_v4());
        let act = Command::StartRedrive { actor, id, selection, per_second: 100, before: None };
        let Ok(ringfence_protocol::admin::Reply::Operation(operation)) = administration.perform(act).await else {
            panic!("not redriven")
        };
        (operation.done, operation.failed)
    };
    assert_eq!(redrive("another").await, (0, 0));
    stage.vapi.put("/file.wav", Reply::File(wav(1000)));
    assert_eq!(redrive(&call.id).await, (1, 0));
    assert_eq!(stage.fetch().await, 0);
    assert_eq!(stage.row(&call).await["state"], "stored");
    assert_eq!(stage.text("SELECT string_agg(state, ';') FROM failed_operations").await, "resolved");
    assert_eq!(stage.database.count("audit_log WHERE action = 'event.redrive' AND actor = 'ada'").await, 1);
}
