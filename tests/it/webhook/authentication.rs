//! Authentication of webhooks: every mechanism, and invalid credentials.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use ringfence_harness::testing::Call;
use ringfence_harness::testing::webhook::{masters, org_key};
use ringfence_identity::Subject;
use ringfence_vapi::OrgId;
use sha2::{Sha256, Sha512};

use super::open;

/// Bytes of a signature over `{timestamp}.{body}`, as Vapi's custom credentials create them.
fn sign<M: Mac + KeyInit>(key: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    let mut mac = <M as Mac>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().to_vec()
}

fn body() -> Vec<u8> {
    Call::default().status("in-progress", 0).to_string().into_bytes()
}

/// D5: `X-Vapi-Secret`, bearer, and HMAC with sha256 or sha512, in hex or base64, authenticate at the org's URL.
#[tokio::test]
async fn each_mechanism_opens_the_orgs_url() {
    let (database, webhook, org) = open().await;
    let (key, now) = (org_key(org, 1), Timestamp::now());
    let bodies: Vec<_> = (0..6).map(|_| body()).collect();
    let (seconds, milliseconds) = (now.as_second().to_string(), now.as_millisecond().to_string());
    let bearer = format!("Bearer {key}");
    let short = |body| sign::<Hmac<Sha256>>(&key, &seconds, body);
    let long = |body| sign::<Hmac<Sha512>>(&key, &milliseconds, body);
    let signatures = [
        hex::encode(short(&bodies[2])),
        format!("sha256={}", STANDARD.encode(short(&bodies[3]))),
        hex::encode(long(&bodies[4])),
        STANDARD.encode(long(&bodies[5])),
    ];
    let headers = [
        vec![("x-vapi-secret", key.as_str())],
        // Vapi sends an empty header if no secret is set.
        vec![("x-vapi-secret", ""), ("authorization", &bearer)],
        vec![("x-signature", &signatures[0]), ("x-timestamp", &seconds)],
        vec![("x-signature", &signatures[1]), ("x-timestamp", &seconds)],
        vec![("x-signature", &signatures[2]), ("x-timestamp", &milliseconds)],
        vec![("x-vapi-secret", "wrong"), ("x-signature", &signatures[3]), ("x-timestamp", &milliseconds)],
    ];
    for (applied, (headers, body)) in (1..).zip(headers.into_iter().zip(bodies)) {
        let reply = webhook.send(Some(&org.to_string()), &headers, body).await;
        assert_eq!(reply.status, 200, "{headers:?}");
        assert_eq!(database.count(&format!("call_logs WHERE org_id = '{org}'")).await, applied, "{headers:?}");
    }
}

/// D5: the answers to an unknown org, a malformed org id, and a wrong, empty or missing secret are identical.
#[tokio::test]
async fn whatever_is_no_valid_credential_gets_the_same_401() {
    let (database, webhook, org) = open().await;
    let other = database.org("Other").await;
    let unknown = OrgId::from(uuid::Uuid::new_v4());
    let (own, others, unknowns) = (org_key(org, 1), org_key(other, 1), org_key(unknown, 1));
    let (not_minted, platform) = (org_key(org, 2), masters().mint(Subject::Platform, 1));
    let (now, past) = (Timestamp::now().as_second().to_string(), "1789398152");
    let body = body();
    let signature = |key, timestamp| hex::encode(sign::<Hmac<Sha256>>(key, timestamp, &body));
    let (others_signature, stale, for_another_time) =
        (signature(&others, &now), signature(&own, past), signature(&own, past));
    let (org, unknown) = (org.to_string(), unknown.to_string());

    let mut replies = Vec::new();
    for (at, headers) in [
        (Some(org.as_str()), vec![]),
        (Some(&org), vec![("x-vapi-secret", "wrong")]),
        (Some(&org), vec![("x-vapi-secret", "")]),
        (Some(&org), vec![("authorization", "Bearer ")]),
        (Some(&org), vec![("x-vapi-secret", &others)]),
        (Some(&org), vec![("x-vapi-secret", &not_minted)]),
        (Some(&org), vec![("x-vapi-secret", platform.expose())]),
        (Some(&org), vec![("x-signature", &others_signature), ("x-timestamp", &now)]),
        (Some(&org), vec![("x-signature", &stale), ("x-timestamp", past)]),
        (Some(&org), vec![("x-signature", &for_another_time), ("x-timestamp", &now)]),
        (Some(&org), vec![("x-signature", &stale)]),
        (Some("not-a-uuid"), vec![("x-vapi-secret", &own)]),
        (Some(&unknown), vec![("x-vapi-secret", &own)]),
        (Some(&unknown), vec![("x-vapi-secret", &unknowns)]),
        (None, vec![("x-vapi-secret", &own)]),
    ] {
        let reply = webhook.send(at, &headers, body.clone()).await;
        assert_eq!(reply.status, 401, "{at:?} {headers:?}");
        replies.push(reply);
    }
    assert!(replies.windows(2).all(|pair| pair[0] == pair[1]), "{replies:?}");
    insta::assert_snapshot!(replies[0].text);
    assert_eq!(database.count("processed_webhook_events").await, 0);
    assert_eq!(database.count("call_logs").await, 0);
}

/// D5: the signature of a changed body is invalid.
#[tokio::test]
async fn a_signature_covers_the_raw_body() {
    let (database, webhook, org) = open().await;
    let now = Timestamp::now().as_second().to_string();
    let mut body = body();
    let signature = hex::encode(sign::<Hmac<Sha256>>(&org_key(org, 1), &now, &body));
    body.push(b' ');
    let headers = [("x-signature", signature.as_str()), ("x-timestamp", &now)];
    assert_eq!(webhook.send(Some(&org.to_string()), &headers, body.clone()).await.status, 401);
    assert_eq!(database.count("call_logs").await, 0);
    body.pop();
    assert_eq!(webhook.send(Some(&org.to_string()), &headers, body).await.status, 200);
    assert_eq!(database.count("call_logs").await, 1);
}

/// D5: after a rotation without overlap the old key is refused and the new one is accepted, also as a signing secret
/// (`?v=`).
#[tokio::test]
async fn a_key_rotated_without_overlap_is_refused() {
    let (database, webhook, org) = open().await;
    let version = database.admin().await.rotate_key(org, Duration::ZERO).await.unwrap();
    assert_eq!(version, Some(2));
    let path = org.to_string();
    let old = webhook.send(Some(&path), &[("x-vapi-secret", &org_key(org, 1))], body()).await;
    let wrong = webhook.send(Some(&path), &[("x-vapi-secret", "wrong")], body()).await;
    assert_eq!((old.status.as_u16(), old == wrong), (401, true), "{old:?}");
    assert_eq!(database.count("processed_webhook_events").await, 0);
    assert_eq!(database.count("call_logs").await, 0);

    let new = org_key(org, 2);
    assert_eq!(webhook.send(Some(&path), &[("x-vapi-secret", &new)], body()).await.status, 200);
    let (body, now) = (body(), Timestamp::now().as_second().to_string());
    let signature = hex::encode(sign::<Hmac<Sha256>>(&new, &now, &body));
    let headers = [("x-signature", signature.as_str()), ("x-timestamp", &now)];
    assert_eq!(webhook.send(Some(&path), &headers, body.clone()).await.status, 401, "without ?v= it is version 1");
    assert_eq!(webhook.send_with_query(Some(&path), &[("v", "2")], &headers, body).await.status, 200);
    assert_eq!(database.count("call_logs").await, 2);
}

/// D5: after a rotation with an overlap, both keys are valid during the overlap.
#[tokio::test]
async fn a_key_rotated_with_an_overlap_still_works() {
    let (database, webhook, org) = open().await;
    database.admin().await.rotate_key(org, Duration::from_hours(1)).await.unwrap();
    for version in [1, 2] {
        let headers = [("x-vapi-secret", org_key(org, version))].map(|(name, key)| (name, key));
        let headers: Vec<_> = headers.iter().map(|(name, key)| (*name, key.as_str())).collect();
        assert_eq!(webhook.send(Some(&org.to_string()), &headers, body()).await.status, 200, "version {version}");
    }
    assert_eq!(database.count("call_logs").await, 2);
}
