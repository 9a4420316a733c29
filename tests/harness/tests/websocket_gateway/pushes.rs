//! Management calls, by the SDK and by plain HTTP.

use aws_sdk_apigatewaymanagement::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_apigatewaymanagement::operation::post_to_connection::PostToConnectionError;
use reqwest::{Client, StatusCode};
use ringfence_harness::websocket_gateway::{MAX_FRAME_BYTES, MAX_MESSAGE_BYTES};
use serde_json::Value;

use crate::helpers::{Scene, content};

async fn push(scene: &Scene, id: &str, data: impl Into<Vec<u8>>) -> Result<(), PostToConnectionError> {
    let push = scene.sdk().post_to_connection().connection_id(id).data(data.into().into());
    push.send().await.map(drop).map_err(SdkError::into_service_error)
}

#[tokio::test]
async fn a_push_reaches_its_client_only() {
    let scene = Scene::new(content).await;
    let (mut first, first_id) = scene.connected().await;
    let (mut second, second_id) = scene.connected().await;
    assert_ne!(first_id, second_id);
    push(&scene, &first_id, "to the first").await.unwrap();
    push(&scene, &second_id, "to the second").await.unwrap();
    assert_eq!(first.text().await, "to the first");
    assert_eq!(second.text().await, "to the second");
}

#[tokio::test]
async fn the_sdk_recognises_a_closed_connection() {
    let scene = Scene::new(content).await;
    let (mut socket, id) = scene.connected().await;
    socket.close(None).await;
    scene.event().await;
    for id in [id.as_str(), "L0SM9cOFvHcCIhw="] {
        assert!(push(&scene, id, "x").await.unwrap_err().is_gone_exception());
        let described = scene.sdk().get_connection().connection_id(id).send().await;
        assert!(described.unwrap_err().into_service_error().is_gone_exception());
        let deleted = scene.sdk().delete_connection().connection_id(id).send().await;
        assert!(deleted.unwrap_err().into_service_error().is_gone_exception());
    }
}

#[tokio::test]
async fn the_sdk_reads_that_a_push_is_too_large() {
    let scene = Scene::new(content).await;
    let (mut socket, id) = scene.connected().await;
    for bytes in [MAX_MESSAGE_BYTES + 1, 3 * 1024 * 1024] {
        let error = push(&scene, &id, vec![b'x'; bytes]).await.unwrap_err();
        assert!(error.is_payload_too_large_exception(), "{bytes}: {error:?}");
    }
    push(&scene, &id, vec![b'x'; MAX_FRAME_BYTES]).await.unwrap();
    assert_eq!(socket.text().await.len(), MAX_FRAME_BYTES);
    // One that is too large for a frame closes the connection.
    assert!(push(&scene, &id, vec![b'x'; MAX_FRAME_BYTES + 1]).await.unwrap_err().is_payload_too_large_exception());
    assert_eq!(socket.closed().await.0, 1009);
}

#[tokio::test]
async fn calls_by_hand_show_status_and_error_type() {
    let scene = Scene::new(content).await;
    let (mut socket, id) = scene.connected().await;
    let http = Client::new();
    let answer = http.post(scene.management_url(&id)).body("hello").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.text().await.unwrap(), "");
    assert_eq!(socket.text().await, "hello");

    let description: Value = http.get(scene.management_url(&id)).send().await.unwrap().json().await.unwrap();
    assert_eq!(description["identity"]["sourceIp"], "127.0.0.1");

    let answer = http.post(scene.management_url(&id)).body(b"\xff".as_slice()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);

    let answer = http.delete(scene.management_url(&id)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let answer = http.post(scene.management_url(&id)).body("hello").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::GONE);
    assert_eq!(answer.headers()["x-amzn-errortype"], "GoneException");
    assert_eq!(answer.json::<Value>().await.unwrap()["message"], "Gone");
}

#[tokio::test]
async fn the_sdk_describes_and_deletes_a_connection() {
    let scene = Scene::new(content).await;
    let (mut socket, id) = scene.connected().await;
    let before = scene.sdk().get_connection().connection_id(&id).send().await.unwrap();
    assert_eq!(before.identity().unwrap().source_ip(), Some("127.0.0.1"));
    assert_eq!(before.connected_at(), before.last_active_at());
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    socket.send("x").await;
    scene.event().await;
    push(&scene, &id, "y").await.unwrap();
    let after = scene.sdk().get_connection().connection_id(&id).send().await.unwrap();
    assert_eq!(after.connected_at(), before.connected_at());
    assert!(after.last_active_at() > before.last_active_at());

    scene.sdk().delete_connection().connection_id(&id).send().await.unwrap();
    assert_eq!(socket.text().await, "y");
    assert_eq!(socket.closed().await.0, 1000);
    assert_eq!(scene.event().await["requestContext"]["disconnectStatusCode"], 1000);
}

#[tokio::test]
async fn pushes_fail_on_request() {
    let scene = Scene::new(content).await;
    let (mut socket, id) = scene.connected().await;
    scene.gateway.fail_next_pushes(2, 429);
    for _ in 0..2 {
        assert!(push(&scene, &id, "lost").await.unwrap_err().is_limit_exceeded_exception());
    }
    scene.gateway.fail_next_pushes(1, 500);
    assert_eq!(push(&scene, &id, "lost").await.unwrap_err().code(), Some("InternalServerErrorException"));
    push(&scene, &id, "kept").await.unwrap();
    assert_eq!(socket.text().await, "kept");
}
