//! E6 and messages without a call id: what a customer or a relay does differently is delivered all the same.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use ringfence_harness::testing::webhook::org_key;
use ringfence_harness::testing::{Call, TestDatabase, TestQueues, TestWebhook, sample};
use ringfence_protocol::admin::NewAgent;
use ringfence_vapi::OrgId;
use serde_json::{Value, json};

async fn open() -> (TestDatabase, TestWebhook, OrgId) {
    let database = TestDatabase::new().await;
    let webhook = TestWebhook::new(database.app(), &TestQueues::new().await);
    let org = database.org("Acme").await;
    (database, webhook, org)
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// E6: the key with and without `Bearer` in both headers, the org id in capitals, and a trailing slash.
#[tokio::test]
async fn likely_mistakes_still_deliver() {
    let (database, webhook, org) = open().await;
    let (key, path) = (org_key(org, 1), org.to_string());
    let bearer = format!("Bearer {key}");
    let mut applied = 0;
    for at in [path.clone(), path.to_uppercase(), format!("{path}/"), format!("{path}/tool-calls/")] {
        for (name, value) in
            [("x-vapi-secret", &key), ("x-vapi-secret", &bearer), ("authorization", &key), ("authorization", &bearer)]
        {
            let body = Call::default().status("in-progress", 0).to_string().into_bytes();
            let reply = webhook.send(Some(&at), &[(name, value)], body).await;
            assert_eq!(reply.status, 200, "{at} {name}: {}", reply.text);
            applied += 1;
            assert_eq!(database.count(&format!("call_logs WHERE org_id = '{org}'")).await, applied, "{at} {name}");
        }
    }
    let body = Call::default().status("in-progress", 0).to_string().into_bytes();
    let elsewhere = webhook.send(Some(&format!("{path}/somewhere/")), &[("x-vapi-secret", &key)], body).await;
    assert_eq!(elsewhere.status, 401, "no org has this id");
}

/// E6: a compressed body is applied; a bomb, another encoding and an unknown sender are refused.
#[tokio::test]
async fn a_compressed_body_is_applied_within_the_limit() {
    let (database, webhook, org) = open().await;
    let (key, path) = (org_key(org, 1), org.to_string());
    let headers = [("x-vapi-secret", key.as_str()), ("content-encoding", "gzip")];
    let body = gzip(Call::default().report(60_000, json!({})).to_string().as_bytes());
    assert_eq!(webhook.send(Some(&path), &headers, body.clone()).await.status, 200);
    assert_eq!(database.text("SELECT summary FROM call_logs").await.as_deref(), Some("Wants a visit."));

    let bomb = gzip(&vec![b' '; 256 * 1024 * 1024]);
    let reply = webhook.send(Some(&path), &headers, bomb.clone()).await;
    assert_eq!((reply.status.as_u16(), &reply.body["code"]), (413, &json!("RF4005")));
    let stranger = [("x-vapi-secret", "wrong"), ("content-encoding", "gzip")];
    assert_eq!(webhook.send(Some(&path), &stranger, bomb).await.status, 401, "the key comes first");
    let brotli = [("x-vapi-secret", key.as_str()), ("content-encoding", "br")];
    let reply = webhook.send(Some(&path), &brotli, body).await;
    assert_eq!((reply.status.as_u16(), &reply.body["code"]), (415, &json!("RF4007")));
    assert!(reply.body["detail"].as_str().unwrap().contains("docs/MESSAGES.md"), "{}", reply.text);
    assert_eq!(database.count("call_logs").await, 1);
}

/// E6: what is not supported gets a problem that names the table in the docs.
#[tokio::test]
async fn what_is_not_supported_is_said() {
    let (_database, webhook, org) = open().await;
    let encrypted = "x".repeat(344);
    for body in [json!({"message": encrypted}), json!({"message": {"type": "hang", "call": encrypted}})] {
        let reply = webhook.post(org, &body).await;
        assert_eq!((reply.status.as_u16(), &reply.body["code"]), (415, &json!("RF4007")), "{body}");
        assert!(reply.body["detail"].as_str().unwrap().contains("\"Not supported\" in docs/MESSAGES.md"));
    }
    let sha1 = [("x-signature", "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"), ("x-timestamp", "1795348800")];
    for headers in [&sha1[..], &[("authorization", "Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln")]] {
        let reply = webhook.send(Some(&org.to_string()), headers, b"{}".to_vec()).await;
        assert_eq!(reply.status, 401);
        assert!(reply.body["detail"].as_str().unwrap().contains("\"Not supported\" in docs/MESSAGES.md"));
    }
    let document = include_str!("../../docs/MESSAGES.md");
    let table = document.split("## Not supported").nth(1).unwrap();
    for named in ["OAuth 2.0", "SHA-1", "encryptedPaths", "Content-Encoding", "timestamp"] {
        assert!(table.contains(named), "{named}");
    }
}

/// E6: an `assistant-request` without a call id is answered from the called number, on both URLs.
#[tokio::test]
async fn an_assistant_request_without_a_call_is_answered_from_its_number() {
    let (database, webhook, org) = open().await;
    let agent = NewAgent {
        name: "Desk".to_owned(),
        role: "inbound".to_owned(),
        assistant_id: Some("a1".to_owned()),
        phone_number: Some("+15555550100".to_owned()),
        ..NewAgent::default()
    };
    database.admin().await.add_agent(org, &agent).await.unwrap();
    database.lead(org, "+15555550142").await;
    let body = json!({"message": {"type": "assistant-request", "phoneNumber": {"number": "+1 555 555 0100"},
        "customer": {"number": "+15555550142"}}});
    for reply in [webhook.post(org, &body).await, webhook.post_platform(&body).await] {
        assert_eq!((reply.status.as_u16(), &reply.body["assistantId"]), (200, &json!("a1")), "{}", reply.text);
        assert!(reply.text.contains("A lead"), "the caller is known by the number: {}", reply.text);
    }
}

/// The message that Vapi sends when it does not accept an inbound call.
fn turned_away(call: Option<&str>) -> Value {
    json!({"message": {"type": "status-update", "status": "ended", "timestamp": 1_789_398_131_480_i64,
        "endedReason": "assistant-request-failed", "call": call.map(|id| json!({"id": id})),
        "customer": {"number": "+15555550142"}, "phoneNumber": {"id": "p1", "number": "+15555550100"},
        "inboundPhoneCallDebuggingArtifacts": {"assistantRequestError": "connect ETIMEDOUT"}}})
}

/// E4: a caller whom Vapi turned away is an ended call of the org, also if Vapi gave the call no id, and is asked for
/// nowhere else.
#[tokio::test]
async fn a_caller_who_was_turned_away_is_kept() {
    let (database, webhook, org) = open().await;
    for body in [turned_away(None), turned_away(None), turned_away(Some("c1"))] {
        assert_eq!(webhook.post(org, &body).await.status, 200);
    }
    assert_eq!(database.count("call_logs").await, 2, "a redelivery is the same call");
    let row = "SELECT concat_ws(' ', status, direction, from_number, to_number, ended_reason, duration_seconds IS NULL)
        FROM call_logs WHERE vapi_call_id LIKE 'turned-away-%'";
    let expected = "completed inbound +15555550142 +15555550100 assistant-request-failed t";
    assert_eq!(database.text(row).await.as_deref(), Some(expected));
    let id = database.text("SELECT vapi_call_id FROM call_logs WHERE vapi_call_id LIKE 'turned-away-%'").await.unwrap();
    let shown = ringfence_core::console::call(&database.app(), org, &id).await.unwrap().unwrap();
    let artifacts = shown.timeline[0].debugging_artifacts.as_ref().unwrap();
    assert_eq!(artifacts, &json!({"assistantRequestError": "connect ETIMEDOUT"}));

    // Vapi has no report of a call without an id.
    let age = "SET session_replication_role = replica;
        UPDATE call_logs SET id = overlay(id::text PLACING left(time_floor_uuid(now() - interval '2 hours')::text, 13)
            FROM 1 FOR 13)::uuid";
    database.superuser().await.batch_execute(age).await.unwrap();
    let missing = database
        .text("SELECT sum(m.missing)::text FROM organizations o, find_missing_reports_v1(o.id, 100, true) m")
        .await;
    assert_eq!(missing.as_deref(), Some("1"));
    assert_eq!(database.count("reconciliations WHERE vapi_call_id = 'c1'").await, 1);

    // An ended call without an id and without the artifacts names nothing.
    let mut plain = turned_away(None);
    plain["message"].as_object_mut().unwrap().remove("inboundPhoneCallDebuggingArtifacts");
    assert_eq!(webhook.post(org, &plain).await.body["code"], "RF4004");
}

/// E6: `.` and `..` are no call ids: in a path they would lead elsewhere.
#[tokio::test]
async fn the_names_of_folders_are_no_call_ids() {
    let (database, webhook, org) = open().await;
    for id in [".", ".."] {
        let mut body = sample("status-update.ended");
        body["message"]["call"]["id"] = json!(id);
        assert_eq!(webhook.post(org, &body).await.body["code"], "RF4004", "{id}");
    }
    assert_eq!(database.count("call_logs").await, 0);
}
