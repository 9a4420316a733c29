//! Messages of clients.

use futures_util::{SinkExt as _, StreamExt as _};
use ringfence_harness::websocket_gateway::{FakeWebSocketGateway, Limits, MAX_FRAME_BYTES};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::helpers::{Scene, content, sdk};

#[tokio::test]
async fn a_message_is_answered_by_a_push() {
    let (tell, endpoint) = tokio::sync::watch::channel(String::new());
    let invoke = move |event: Value| {
        let endpoint = endpoint.borrow().clone();
        async move {
            let context = &event["requestContext"];
            if context["eventType"] == "MESSAGE" {
                let text = format!("{} {}", context["routeKey"], event["body"]);
                let id = context["connectionId"].as_str().unwrap();
                let push = sdk(&endpoint).post_to_connection().connection_id(id).data(text.into_bytes().into());
                push.send().await.map_err(|error| format!("{error:?}"))?;
            }
            Ok(json!({"statusCode": 200}))
        }
    };
    let gateway = FakeWebSocketGateway::start("127.0.0.1:0".parse().unwrap(), Limits::default(), invoke).await.unwrap();
    tell.send(gateway.endpoint()).unwrap();
    let (mut socket, _) = connect_async(gateway.url()).await.unwrap();
    for text in ["one", "two"] {
        socket.send(Message::text(text)).await.unwrap();
    }
    for text in ["one", "two"] {
        let answer = socket.next().await.unwrap().unwrap();
        assert_eq!(answer, Message::text(format!("\"$default\" \"{text}\"")));
    }
}

#[tokio::test]
async fn messages_reach_the_function_in_order() {
    let scene = Scene::new(content).await;
    let (mut socket, id) = scene.connected().await;
    for number in 0..20 {
        socket.send(number.to_string()).await;
    }
    for number in 0..20 {
        let event = scene.event().await;
        assert_eq!(event["body"], number.to_string());
        assert_eq!(event["requestContext"]["connectionId"], id);
    }
}

#[tokio::test]
async fn a_failed_message_is_reported_to_the_client() {
    for answer in [Err("it panicked".to_owned()), Ok(json!({"statusCode": 500}))] {
        let scene = Scene::new(move |event| match event["requestContext"]["eventType"].as_str() {
            Some("MESSAGE") => answer.clone(),
            _ => content(event),
        })
        .await;
        let (mut socket, id) = scene.connected().await;
        socket.send("x").await;
        let request_id = &scene.event().await["requestContext"]["requestId"];
        let expected = json!({"message": "Internal server error", "connectionId": id, "requestId": request_id});
        assert_eq!(socket.json().await, expected);
    }
}

#[tokio::test]
async fn an_answer_is_not_sent_to_the_client() {
    let scene = Scene::new(|_| Ok(json!({"statusCode": 403, "body": "no"}))).await;
    assert!(scene.connect_with(&[]).await.is_err(), "a refused connection has no messages");

    let scene = Scene::new(|event| {
        let connects = event["requestContext"]["eventType"] == "CONNECT";
        Ok(if connects { json!({"statusCode": 200}) } else { json!({"statusCode": 400, "body": "no"}) })
    })
    .await;
    let (mut socket, id) = scene.connected().await;
    socket.send("x").await;
    scene.event().await;
    let push = scene.sdk().post_to_connection().connection_id(&id).data(b"next".to_vec().into());
    push.send().await.unwrap();
    assert_eq!(socket.text().await, "next");
}

#[tokio::test]
async fn the_largest_message_passes_and_a_larger_one_closes() {
    let scene = Scene::new(content).await;
    let (mut socket, _) = scene.connected().await;
    let largest = "x".repeat(MAX_FRAME_BYTES);
    socket.send(largest.clone()).await;
    assert_eq!(scene.event().await["body"], largest);
    socket.send(largest + "x").await;
    assert_eq!(socket.closed().await.0, 1009);
    assert_eq!(scene.event().await["requestContext"]["disconnectStatusCode"], 1009);
}

#[tokio::test]
async fn a_binary_message_closes() {
    let scene = Scene::new(content).await;
    let (mut socket, _) = scene.connected().await;
    socket.send(Message::binary(b"x".as_slice())).await;
    assert_eq!(socket.closed().await.0, 1003);
    assert_eq!(scene.event().await["requestContext"]["disconnectStatusCode"], 1003);
}

#[tokio::test]
async fn a_ping_is_answered_and_is_no_message() {
    let scene = Scene::new(content).await;
    let (mut socket, _) = scene.connected().await;
    socket.send(Message::Ping(b"?".as_slice().into())).await;
    assert_eq!(socket.next().await, Some(Message::Pong(b"?".as_slice().into())));
    socket.send("x").await;
    assert_eq!(scene.event().await["body"], "x");
}
