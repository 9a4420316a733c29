//! Recordings of the deployed stack. Its functions connect to public addresses only, so they cannot fetch a file from
//! this machine. The checks use a link that is refused, and then an object that is put at the key that the function
//! would use.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::local::{buckets, connection, http};
use ringfence_harness::wait::wait_until;
use ringfence_simulate::Target;

/// Id of the call with the recording.
pub(super) const CALL: &str = "deployed-recording";
const RECORDING: &[u8] = b"RIFF\0\0\0\0WAVEfmt a recording";
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Posts a report whose recording does not exist.
pub(super) async fn report(target: &Target) -> Result<()> {
    let expires_at = Timestamp::now() + SignedDuration::from_mins(30);
    let body = json!({"message": {
        "type": "end-of-call-report", "call": {"id": CALL}, "endedReason": "customer-ended-call",
        "artifact": {"presignedMonoUrl": "https://recordings.example/mono.wav", "presignedUrlsExpiresAt": expires_at},
    }});
    let request = http::client(ANSWER_LIMIT)?.post(&target.webhook_url).header("x-vapi-secret", &target.key);
    let answer = request.body(body.to_string()).send().await.and_then(reqwest::Response::error_for_status);
    answer.map(drop).context("post a report")
}

/// Waits until the recording's row has this state.
pub(super) async fn wait_for_state(database_url: &str, state: &str, timeout: Duration) -> Result<()> {
    let client = connection::open(database_url).await?;
    let query = "SELECT concat_ws(' ', state, code) FROM recording_upload_queue WHERE vapi_call_id = $1";
    let mut found = String::new();
    let is_there = async || {
        found = client.query_one(query, &[&CALL]).await.context("look for the recording")?.get(0);
        Ok(found == state)
    };
    if wait_until(timeout, is_there).await? {
        return Ok(());
    }
    Err(Error::new(format!("the recording is {found:?} and not {state:?}")))
}

/// Puts the recording at the key that the function uses.
pub(super) async fn put(aws_endpoint: &str, outputs: &BTreeMap<String, String>, target: &Target) -> Result<()> {
    let bucket = outputs
        .get("RecordingsBucketName")
        .ok_or_else(|| Error::new("the stack has no output RecordingsBucketName"))?;
    let put = buckets::client(aws_endpoint).put_object().bucket(bucket).key(format!("{}/{CALL}/mono", target.org));
    put.content_type("audio/wav").body(RECORDING.to_vec().into()).send().await.context("put a recording")?;
    Ok(())
}

/// Requests the recording's link with a token, and fetches the link.
pub(super) async fn play(base_url: &str, token: &str) -> Result<()> {
    let url = format!("{base_url}/api/calls/{CALL}/recordings/mono");
    let client = http::client(ANSWER_LIMIT)?;
    let refused = client.get(&url).send().await.context("ask without a token")?;
    if refused.status() != reqwest::StatusCode::UNAUTHORIZED {
        return Err(Error::new(format!("a recording without a token is answered {}", refused.status())));
    }
    let answer = client.get(&url).bearer_auth(token).send().await.and_then(reqwest::Response::error_for_status);
    let answer: Value = answer.context("ask for a recording")?.json().await.context("read the link")?;
    let link = answer["url"].as_str().unwrap_or_default();
    let played = client.get(link).send().await.and_then(reqwest::Response::error_for_status).context("play")?;
    if played.bytes().await.context("play")?.as_ref() == RECORDING {
        return Ok(());
    }
    Err(Error::new("the link plays another recording"))
}
