//! Authentication of connections, and the org of a connection.

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use ringfence_core::live::ConnectionLimits;
use ringfence_harness::testing::{Call, eventually};

use super::*;

/// D7: a viewer is pending until its first message, then active, and is removed when it disconnects.
#[tokio::test]
async fn a_viewer_connects_and_disconnects() {
    let stage = Stage::new().await;
    let mut viewer = stage.connect(&token(stage.org, Duration::from_mins(5))).await.unwrap();
    assert_eq!(stage.count(&format!("live_connections WHERE state = 'pending' AND org_id = '{}'", stage.org)).await, 1);
    assert_eq!(stage.count("live_connections WHERE expires_at < now() + interval '5 minutes 1 second'").await, 1);

    // Events before its first message are not pushed to it.
    stage.post(&[Call::default().status("ringing", 0)]).await;
    let pages = viewer.resume().await;
    assert_eq!((pages[0]["type"].as_str(), viewer.frames.len()), (Some("page"), 0));
    assert_eq!(stage.count("live_connections WHERE state = 'active'").await, 1);

    viewer.send(&json!({"action": "ping"})).await;
    assert_eq!(viewer.next().await.unwrap(), json!({"v": 1, "type": "pong"}));
    viewer.socket.close(None).await.unwrap();
    eventually("the row is deleted", async || (stage.count("live_connections").await == 0).then_some(())).await;
}

/// D7: without a valid token a connection is refused, and no row remains.
#[tokio::test]
async fn a_forged_or_expired_token_is_refused() {
    let stage = Stage::new().await;
    let valid = token(stage.org, Duration::from_mins(5));
    let other_master: ringfence_identity::MasterKeys =
        "t:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=".parse().ok().unwrap();
    let forged =
        other_master.live_tokens().mint(stage.org, "tester", Duration::from_mins(5), Timestamp::now()).unwrap().0;
    let expired = token(stage.org, Duration::ZERO);
    let cut = &valid[..valid.len() - 1];
    for token in [forged.as_str(), expired.as_str(), cut, "none"] {
        assert_eq!(stage.connect(token).await.err(), Some(401), "{token}");
    }
    let without = connect_async(stage.gateway.url()).await;
    assert!(matches!(without, Err(Error::Http(response)) if response.status() == 401));
    assert_eq!((stage.count("live_connections").await, stage.gateway.connections()), (0, 0));
}

/// D3, D7: a connection remains with its org: another org's valid token with the same connection id changes nothing.
#[tokio::test]
async fn a_connection_cannot_be_taken_over() {
    let stage = Stage::new().await;
    let other = stage.database.org("Other").await;
    let mut viewer = stage.viewer(stage.org).await;
    let id = stage.database.text("SELECT connection_id FROM live_connections").await.unwrap();
    let event: ApiGatewayWebsocketProxyRequest = serde_json::from_value(json!({
        "requestContext": {"routeKey": "$connect", "eventType": "CONNECT", "connectionId": id, "connectedAt": 1, "requestTimeEpoch": 1},
        "headers": {"Sec-WebSocket-Protocol": format!("ringfence.v1, {}", token(other, Duration::from_mins(5)))},
        "isBase64Encoded": false,
    }))
    .unwrap();
    assert_eq!(stage.live().answer(&event).await.status_code, 401);
    assert_eq!(stage.count(&format!("live_connections WHERE org_id = '{}'", stage.org)).await, 1);
    assert_eq!(stage.count("live_connections").await, 1);

    assert_eq!(stage.webhook.post(other, &Call::default().status("ringing", 0)).await.status, 200);
    stage.post(&[Call::default().status("ringing", 0)]).await;
    viewer.wait_for(1).await;
    viewer.resume().await;
    assert_eq!(viewer.frames.len(), 1);
}

/// D7: a token and an org have a limited number of connections. A closed connection makes room for another.
#[tokio::test]
async fn too_many_connections_are_refused() {
    let stage = Stage::new().await;
    let other = stage.database.org("Other").await;
    let limits = ConnectionLimits { per_token: 2, per_org: 3 };
    let live = Live::new(masters().live_tokens(), stage.database.app(), stage.queues.connections()).with_limits(limits);
    let minted = |org, holder: &str| {
        let lifetime = Duration::from_mins(5);
        masters().live_tokens().mint(org, holder, lifetime, Timestamp::now()).unwrap().0
    };
    let (ada, grace) = (minted(stage.org, "ada"), minted(stage.org, "grace"));
    let open = async |token: &str, id: &str| -> u16 {
        let event: ApiGatewayWebsocketProxyRequest = serde_json::from_value(json!({
            "requestContext": {"routeKey": "$connect", "eventType": "CONNECT", "connectionId": id, "connectedAt": 1,
                "requestTimeEpoch": 1},
            "headers": {"Sec-WebSocket-Protocol": format!("ringfence.v1, {token}")},
        }))
        .unwrap();
        live.answer(&event).await.status_code
    };
    assert_eq!((open(&ada, "a1").await, open(&ada, "a2").await), (200, 200));
    assert_eq!(open(&ada, "a2").await, 200, "a retry of the same connection");
    assert_eq!(open(&ada, "a3").await, 429, "the token has two");
    assert_eq!((open(&grace, "g1").await, open(&grace, "g2").await), (200, 429), "the org has three");
    assert_eq!(open(&minted(other, "ada"), "o1").await, 200, "another org is not concerned");
    assert_eq!(stage.count(&format!("live_connections WHERE org_id = '{}'", stage.org)).await, 3);

    // A connection that has expired does not count, and neither does one that is closed.
    let expire = "UPDATE live_connections SET expires_at = now() - interval '1 second' WHERE connection_id = 'a1'";
    stage.database.superuser().await.batch_execute(expire).await.unwrap();
    assert_eq!((open(&ada, "a3").await, open(&ada, "a4").await), (200, 429));
    ringfence_core::live::close(&stage.app, Some(stage.org), &["a3".to_owned().into()]).await.unwrap();
    assert_eq!(open(&ada, "a4").await, 200);
}

/// D7: a viewer whose token has expired receives a message, is closed, and receives no further pushes. Viewers without
/// a `$disconnect` event are removed by maintenance.
#[tokio::test]
async fn an_expired_viewer_is_notified_and_closed() {
    let stage = Stage::new().await;
    let mut viewer = stage.viewer(stage.org).await;
    let expire = "UPDATE live_connections SET expires_at = now() - interval '1 second'";
    stage.database.superuser().await.batch_execute(expire).await.unwrap();
    stage.post(&[Call::default().status("ringing", 0)]).await;
    assert_eq!(viewer.resume().await, [json!({"v": 1, "type": "expired"})]);
    assert_eq!(viewer.next().await, None);
    assert_eq!(viewer.frames.len(), 0);

    let forgotten = "INSERT INTO live_connections (connection_id, org_id, expires_at)
        SELECT 'forgotten' || n, id, now() - interval '1 minute' FROM organizations, generate_series(1, 3) n";
    stage.database.superuser().await.batch_execute(forgotten).await.unwrap();
    stage.viewer(stage.org).await;
    assert_eq!(stage.count("live_connections WHERE connection_id LIKE 'forgotten%'").await, 0);
}

/// D7, D12: an invalid message is answered with an error, and the connection stays open.
#[tokio::test]
async fn a_message_that_is_none_is_answered() {
    let stage = Stage::new().await;
    let mut viewer = stage.viewer(stage.org).await;
    for message in [json!({"action": "shout"}), json!([]), json!({"action": "resume", "cursor": 7})] {
        viewer.send(&message).await;
        assert_eq!(viewer.next().await.unwrap()["type"], "error", "{message}");
    }
    viewer.send(&json!({"action": "ping"})).await;
    assert_eq!(viewer.next().await.unwrap()["type"], "pong");
}

/// D7: while the database is unavailable, connections are refused with a status that does not blame the token.
#[tokio::test]
async fn without_a_database_a_viewer_is_asked_to_retry() {
    let stage = Stage::new().await;
    let unavailable = stage.database.app_at(Some("127.0.0.1:1"));
    let live = Live::new(masters().live_tokens(), unavailable, stage.queues.connections());
    let event: ApiGatewayWebsocketProxyRequest = serde_json::from_value(json!({
        "requestContext": {"routeKey": "$connect", "eventType": "CONNECT", "connectionId": "a=", "connectedAt": 1, "requestTimeEpoch": 1},
        "headers": {"Sec-WebSocket-Protocol": format!("ringfence.v1, {}", token(stage.org, Duration::from_mins(5)))},
    }))
    .unwrap();
    assert_eq!(live.answer(&event).await.status_code, 503);
}
