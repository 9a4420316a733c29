//! Playback of recordings.

use std::collections::HashMap;
use std::time::Duration;

use console::{Commands, Console};
use jiff::Timestamp;
use lambda_http::http::Request as HttpRequest;
use lambda_http::{Body, RequestExt as _};
use ringfence_harness::testing::Call;
use ringfence_harness::testing::webhook::keys;
use ringfence_vapi::OrgId;
use serde_json::{Value, json};

use super::{Stage, sha256, wav};

fn token(org: OrgId) -> String {
    keys().live_tokens().unwrap().mint(org, "grace", Duration::from_mins(5), Timestamp::now()).unwrap().0
}

/// Requests a recording from the console. Returns status and body of the answer.
async fn play(stage: &Stage, token: Option<&str>, call: &str, kind: &str) -> (u16, Value) {
    let console = Console {
        console_tokens: keys().console_token_verifier().unwrap(),
        live_tokens: keys().live_tokens().unwrap(),
        database: stage.database.app(),
        bucket: stage.queues.bucket(),
        commands: Commands::new(&stage.queues.aws_at("http://127.0.0.1:1"), "admin".to_owned()),
        live_url: "wss://live.example/live".to_owned(),
    };
    let mut request = HttpRequest::get("https://ringfence.example/");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let parameters = [("call_id", call), ("kind", kind)].map(|(name, value)| (name.to_owned(), vec![value.to_owned()]));
    let path = format!("/api/calls/{call}/recordings/{kind}");
    let request = request.body(Body::Empty).unwrap().with_raw_http_path(path);
    let request = request.with_path_parameters(HashMap::from(parameters));
    let response = Box::pin(console.answer(request)).await;
    assert_eq!(response.headers()["cache-control"], "no-store");
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

/// B9, D8: with an org's token, the answer is a link that plays the recording. The audit log records the access with
/// the name of the token's holder.
#[tokio::test]
async fn a_token_of_the_org_plays_a_recording_and_is_audited() {
    let (stage, call, file) = (Stage::new().await, Call::default(), wav(2000));
    assert_eq!(stage.record(&call, &file).await, 0);
    let (status, body) = play(&stage, Some(&token(stage.org)), &call.id, "mono").await;
    assert_eq!((status, &body["bytes"], &body["content_type"]), (200, &json!(2000), &json!("audio/wav")));
    assert_eq!(body["sha256"], sha256(&file));
    let lifetime = body["expires_at"].as_str().unwrap().parse::<Timestamp>().unwrap().duration_since(Timestamp::now());
    assert!(lifetime.as_secs() <= 300, "{lifetime}");

    let answer = reqwest::get(body["url"].as_str().unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    assert!(answer.bytes().await.unwrap() == file);
    let audited =
        "SELECT string_agg(concat_ws(' ', actor, action, subject), ';') FROM audit_log WHERE action LIKE 'recording%'";
    assert_eq!(stage.text(audited).await, format!("grace recording.play recording:{}:mono", call.id));
}

/// D3, D8: for another org's token the answer is that of a recording that does not exist, and nothing is audited.
#[tokio::test]
async fn another_orgs_token_gets_not_found() {
    let (stage, call) = (Stage::new().await, Call::default());
    assert_eq!(stage.record(&call, &wav(2000)).await, 0);
    let other = token(stage.database.org("Other").await);
    let answer = play(&stage, Some(&other), &call.id, "mono").await;
    assert_eq!((answer.0, &answer.1["code"]), (404, &json!("RF8002")));
    let own = token(stage.org);
    for (token, call, kind) in [
        (&other, "never-was", "mono"),
        (&own, "never-was", "mono"),
        (&own, call.id.as_str(), "stereo"),
        (&own, call.id.as_str(), "../secret"),
        (&own, "a b", "mono"),
    ] {
        assert_eq!(play(&stage, Some(token), call, kind).await, answer, "{call} {kind}");
    }
    assert_eq!(stage.database.count("audit_log WHERE action LIKE 'recording%'").await, 0);
}

/// D5: without a valid token the request is refused.
#[tokio::test]
async fn without_a_token_nothing_is_played() {
    let (stage, call) = (Stage::new().await, Call::default());
    assert_eq!(stage.record(&call, &wav(2000)).await, 0);
    for token in [None, Some(""), Some("a.b.c")] {
        assert_eq!(play(&stage, token, &call.id, "mono").await.0, 401, "{token:?}");
    }
}

/// D3, D8: playback makes no link to an object that is not the recording's own, even if its row could name one.
#[tokio::test]
async fn an_object_of_another_org_is_not_played() {
    let (stage, call) = (Stage::new().await, Call::default());
    assert_eq!(stage.record(&call, &wav(2000)).await, 0);
    let other = stage.database.org("Other").await;
    let point = format!(
        "ALTER TABLE recording_upload_queue DROP CONSTRAINT recording_upload_queue_storage_key_own;
        UPDATE recording_upload_queue SET storage_key = '{other}/{}/mono'",
        call.id
    );
    stage.execute(&point).await;
    let (status, body) = play(&stage, Some(&token(stage.org)), &call.id, "mono").await;
    assert_eq!((status, &body["code"], &body["url"]), (404, &json!("RF8002"), &Value::Null));
    assert_eq!(stage.database.count("audit_log WHERE action LIKE 'recording%'").await, 0);
}
