//! The socket of a connection.

use std::time::Duration;

use axum::Error;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use tokio::time::{Instant, sleep, timeout};

use super::closing::Closing;
use super::connection::{Command, OpenConnection};
use super::limits::MAX_FRAME_BYTES;

/// Time limit for a client's answer to a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Forwards messages in both directions until either side, a limit or the end of the gateway closes the socket.
pub(crate) async fn carry(mut socket: WebSocket, mut connection: OpenConnection) {
    let gateway = connection.gateway.clone();
    connection.closing = tokio::select! {
        closing = exchange(&mut socket, &mut connection) => closing,
        () = gateway.stopped() => Closing::going_away(),
    };
    let frame = connection.closing.frame();
    // Dropped first, so that no push reaches the socket while it closes.
    drop(connection);
    // A client that does not answer within the limit is ignored.
    let _ = timeout(CLOSE_TIMEOUT, close(socket, frame)).await;
}

async fn exchange(socket: &mut WebSocket, connection: &mut OpenConnection) -> Closing {
    let limits = connection.gateway.limits;
    let (idle, lifetime) = (sleep(limits.idle), sleep(limits.lifetime));
    tokio::pin!(idle, lifetime);
    loop {
        let carried = tokio::select! {
            message = socket.recv() => receive(message, connection),
            Some(command) = connection.commands.recv() => obey(command, socket).await,
            () = &mut idle => Err(Closing::going_away()),
            () = &mut lifetime => Err(Closing::going_away()),
        };
        match carried {
            Ok(Carried::Message) => {
                connection.touch();
                idle.as_mut().reset(Instant::now() + limits.idle);
            }
            Ok(Carried::Nothing) => {}
            Err(closing) => return closing,
        }
    }
}

/// Whether the data keeps a connection from being idle.
enum Carried {
    Message,
    Nothing,
}

fn receive(message: Option<Result<Message, Error>>, connection: &OpenConnection) -> Result<Carried, Closing> {
    match message {
        Some(Ok(Message::Text(text))) if text.len() <= MAX_FRAME_BYTES => {
            connection.message(&text);
            Ok(Carried::Message)
        }
        Some(Ok(Message::Text(_))) => Err(Closing::too_big()),
        Some(Ok(Message::Binary(_))) => Err(Closing::unsupported()),
        // The library answers pings.
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(Carried::Nothing),
        Some(Ok(Message::Close(frame))) => Err(Closing::by_client(frame)),
        Some(Err(_)) | None => Err(Closing::lost()),
    }
}

async fn obey(command: Command, socket: &mut WebSocket) -> Result<Carried, Closing> {
    match command {
        Command::Push(text, sent) => {
            socket.send(Message::text(text)).await.map_err(|_| Closing::lost())?;
            // The pushing task may have ended.
            let _ = sent.send(());
            Ok(Carried::Message)
        }
        Command::Close(closing) => Err(closing),
    }
}

/// Sends the close frame and reads until the client disconnects: unread data would reset the connection before the
/// client reads the frame.
async fn close(mut socket: WebSocket, frame: Option<CloseFrame>) {
    if frame.is_some() && socket.send(Message::Close(frame)).await.is_err() {
        return;
    }
    while let Some(Ok(_)) = socket.recv().await {}
}
