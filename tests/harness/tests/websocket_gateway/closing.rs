//! Ends of connections, and the `$disconnect` events of the function.

use std::time::{Duration, Instant};

use ringfence_harness::websocket_gateway::Limits;
use serde_json::Value;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::helpers::{Scene, content};

/// Status and reason of the next event, which is a `$disconnect`.
async fn disconnected(scene: &Scene) -> (u64, String) {
    let event = scene.event().await;
    let context = &event["requestContext"];
    assert_eq!(context["routeKey"], "$disconnect");
    assert_eq!(event.get("body").and_then(Value::as_str), None);
    let reason = context["disconnectReason"].as_str().unwrap().to_owned();
    (context["disconnectStatusCode"].as_u64().unwrap(), reason)
}

#[tokio::test]
async fn the_function_receives_the_clients_message() {
    let scene = Scene::new(content).await;
    let (mut socket, _) = scene.connected().await;
    socket.close(Some(CloseFrame { code: CloseCode::from(4001), reason: "bye".into() })).await;
    assert_eq!(disconnected(&scene).await, (4001, "bye".to_owned()));
    assert_eq!(scene.gateway.connections(), 0);
}

#[tokio::test]
async fn a_client_may_leave_without_a_reason_or_a_word() {
    let scene = Scene::new(content).await;
    let (mut socket, _) = scene.connected().await;
    socket.close(None).await;
    assert_eq!(disconnected(&scene).await.0, 1005);
    let (socket, _) = scene.connected().await;
    drop(socket);
    assert_eq!(disconnected(&scene).await.0, 1006);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let limits = Limits { idle: Duration::from_millis(400), ..Limits::default() };
    let scene = Scene::with_limits(limits, content).await;
    let (mut socket, _) = scene.connected().await;
    let begin = Instant::now();
    tokio::time::sleep(Duration::from_millis(200)).await;
    socket.send("not idle").await;
    scene.event().await;
    assert_eq!(socket.closed().await, (1001, "Going away".to_owned()));
    assert!(begin.elapsed() >= Duration::from_millis(600), "the message counts");
    assert_eq!(disconnected(&scene).await, (1001, "Going away".to_owned()));
}

#[tokio::test]
async fn a_busy_connection_has_its_lifetime() {
    let limits = Limits { lifetime: Duration::from_millis(300), ..Limits::default() };
    let scene = Scene::with_limits(limits, content).await;
    let (mut socket, _) = scene.connected().await;
    for _ in 0..3 {
        socket.send("busy").await;
        scene.event().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(socket.closed().await.0, 1001);
    assert_eq!(disconnected(&scene).await.0, 1001);
}
