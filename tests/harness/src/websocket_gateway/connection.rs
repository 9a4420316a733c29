//! Open connections: pushes to them, and the events of their ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::closing::Closing;
use super::event::Caller;
use super::gateway::Gateway;

/// Maximum number of waiting pushes per socket.
const WAITING_PUSHES: usize = 64;

/// Command to a connection's socket.
pub(crate) enum Command {
    /// Send a text, and report when it has been passed to the socket.
    Push(String, oneshot::Sender<()>),
    /// Close the socket.
    Close(Closing),
}

/// A connection as the gateway sees it.
pub(crate) struct Connection {
    pub(crate) caller: Caller,
    last_active: Mutex<Timestamp>,
    commands: mpsc::Sender<Command>,
}

/// Connections by id.
#[derive(Default)]
pub(crate) struct Connections(Mutex<HashMap<String, Arc<Connection>>>);

/// A connection as its socket owns it. On drop, it is removed from [`Connections`], and the function receives
/// `$disconnect`.
pub(crate) struct OpenConnection {
    pub(crate) commands: mpsc::Receiver<Command>,
    /// Content of the `$disconnect` event.
    pub(crate) closing: Closing,
    pub(crate) gateway: Arc<Gateway>,
    connection: Arc<Connection>,
    events: mpsc::UnboundedSender<Value>,
}

impl Connection {
    /// Passes a text to the socket. Returns false if the socket has closed.
    pub(crate) async fn push(&self, text: String) -> bool {
        let (sent, is_sent) = oneshot::channel();
        self.commands.send(Command::Push(text, sent)).await.is_ok() && is_sent.await.is_ok()
    }

    /// Closes the socket.
    pub(crate) async fn close(&self, closing: Closing) {
        // A failure means that it is closed already.
        let _ = self.commands.send(Command::Close(closing)).await;
    }

    /// Time of the last message in either direction.
    pub(crate) fn last_active(&self) -> Timestamp {
        *self.last_active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Connection>> {
        self.lock().get(id).map(Arc::clone)
    }

    pub(crate) fn remove(&self, id: &str) -> Option<Arc<Connection>> {
        self.lock().remove(id)
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Connection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnection {
    /// Adds the connection and starts to invoke its events one after another.
    pub(crate) fn open(gateway: &Arc<Gateway>, caller: Caller) -> Self {
        let (sender, commands) = mpsc::channel(WAITING_PUSHES);
        let (events, waiting) = mpsc::unbounded_channel();
        let last_active = Mutex::new(caller.connected_at);
        let connection = Arc::new(Connection { caller, last_active, commands: sender });
        gateway.connections.lock().insert(connection.caller.connection_id.clone(), Arc::clone(&connection));
        tokio::spawn(invoke_all(Arc::clone(gateway), Arc::clone(&connection), waiting));
        Self { commands, closing: Closing::lost(), gateway: Arc::clone(gateway), connection, events }
    }

    /// Invokes the function with a message.
    pub(crate) fn message(&self, text: &str) {
        self.invoke(self.connection.caller.message(text));
    }

    /// Records the time of a message.
    pub(crate) fn touch(&self) {
        *self.connection.last_active.lock().unwrap_or_else(PoisonError::into_inner) = Timestamp::now();
    }

    fn invoke(&self, event: Value) {
        // A failure means that the gateway has stopped.
        let _ = self.events.send(event);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let caller = &self.connection.caller;
        self.gateway.connections.remove(&caller.connection_id);
        self.invoke(caller.disconnect(&self.closing));
    }
}

/// Invokes the function with a connection's events until the last one, or until the gateway stops.
async fn invoke_all(gateway: Arc<Gateway>, connection: Arc<Connection>, mut events: mpsc::UnboundedReceiver<Value>) {
    let all = async {
        while let Some(event) = events.recv().await {
            let request_id = event["requestContext"]["requestId"].clone();
            let status = gateway.function.invoke(event).await.map(|answer| answer.status());
            if status.is_none_or(|status| status.is_some_and(|status| status >= 500)) {
                connection.push(failure(&connection.caller.connection_id, &request_id)).await;
            }
        }
    };
    tokio::select! {
        () = all => {}
        () = gateway.stopped() => {}
    }
}

/// Text that a client receives when its message failed.
fn failure(connection_id: &str, request_id: &Value) -> String {
    json!({ "message": "Internal server error", "connectionId": connection_id, "requestId": request_id }).to_string()
}
