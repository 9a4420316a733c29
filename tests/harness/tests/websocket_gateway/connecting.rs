//! Accepted and refused connections.

use std::time::Duration;

use ringfence_harness::websocket_gateway::{FakeWebSocketGateway, Limits};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;

use crate::helpers::{Scene, content, sdk};

const PROTOCOL: &str = "Sec-WebSocket-Protocol";

#[tokio::test]
async fn the_function_selects_the_subprotocol() {
    let scene = Scene::new(|event| {
        assert_eq!(event["headers"][PROTOCOL], "ringfence.v1, secret");
        Ok(json!({"statusCode": 200, "headers": {"sec-websocket-protocol": "ringfence.v1"}}))
    })
    .await;
    let (_socket, response) = scene.connect_with(&[(PROTOCOL, "ringfence.v1, secret")]).await.unwrap();
    assert_eq!(response.headers()[PROTOCOL], "ringfence.v1");
    assert_eq!(scene.event().await["requestContext"]["routeKey"], "$connect");
    assert_eq!(scene.gateway.connections(), 1);
}

#[tokio::test]
async fn a_client_is_refused_with_the_functions_status() {
    for (answer, status) in [
        (Ok(json!({"statusCode": 401})), 401),
        (Ok(json!({"statusCode": 403, "body": "no"})), 403),
        (Ok(json!({"status": 200})), 502),
        (Ok(Value::Null), 502),
        (Err("it panicked".to_owned()), 500),
    ] {
        let scene = Scene::new(move |_| answer.clone()).await;
        let Err(Error::Http(response)) = scene.connect_with(&[]).await.map(|_| ()) else { panic!("not refused") };
        assert_eq!(response.status(), status);
        assert_eq!(scene.gateway.connections(), 0);
    }
}

#[tokio::test]
async fn a_request_without_upgrade_reaches_no_function() {
    let scene = Scene::new(|_| panic!("invoked")).await;
    let answer = reqwest::get(scene.gateway.endpoint()).await.unwrap();
    assert!(answer.status().is_client_error());
}

#[tokio::test]
async fn a_pending_connection_is_reported_as_gone() {
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    let (tell, endpoint) = tokio::sync::watch::channel(String::new());
    let invoke = move |event: Value| {
        let (sender, endpoint) = (sender.clone(), endpoint.borrow().clone());
        async move {
            let id = event["requestContext"]["connectionId"].as_str().unwrap();
            let push = sdk(&endpoint).post_to_connection().connection_id(id).data(b"early".to_vec().into());
            let error = push.send().await.unwrap_err().into_service_error();
            sender.send(error.is_gone_exception()).unwrap();
            Ok(json!({"statusCode": 200}))
        }
    };
    let gateway = FakeWebSocketGateway::start("127.0.0.1:0".parse().unwrap(), Limits::default(), invoke).await.unwrap();
    tell.send(gateway.endpoint()).unwrap();
    let _socket = connect_async(gateway.url()).await.unwrap();
    assert_eq!(outcomes.recv().await, Some(true));
}

#[tokio::test]
async fn a_client_that_does_not_wait_is_disconnected() {
    let (sender, mut events) = mpsc::unbounded_channel();
    let invoke = move |event: Value| {
        sender.send(event["requestContext"]["disconnectStatusCode"].clone()).unwrap();
        async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(json!({"statusCode": 200}))
        }
    };
    let gateway = FakeWebSocketGateway::start("127.0.0.1:0".parse().unwrap(), Limits::default(), invoke).await.unwrap();
    let impatient = tokio::time::timeout(Duration::from_millis(50), connect_async(gateway.url())).await;
    assert!(impatient.is_err());
    assert_eq!(events.recv().await, Some(Value::Null));
    assert_eq!(events.recv().await, Some(json!(1006)));
    assert_eq!(gateway.connections(), 0);
}

#[tokio::test]
async fn a_dropped_gateway_closes_its_sockets() {
    let scene = Scene::new(content).await;
    let (mut socket, _) = scene.connected().await;
    let address = scene.gateway.endpoint().replace("http://", "").replace("/live", "");
    drop(scene);
    assert_eq!(socket.closed().await, (1001, "Going away".to_owned()));
    // The server's task ends with a delay.
    for _ in 0..100 {
        if TcpStream::connect(&address).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it still listens");
}
