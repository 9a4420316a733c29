//! A TCP proxy that simulates failures of networks, crashes and failovers. In front of PostgreSQL it also counts round
//! trips.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::setting;

/// `Sync` and `Query`. Each ends what the client sends in one round trip (PostgreSQL's frontend protocol).
const ENDS_ROUND_TRIP: [u8; 2] = *b"SQ";
/// In [`Mode::Cut`], one of this number of requests is cut in each of the three ways.
const CUT_ONE_IN: u8 = 12;
const CHUNK: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All data passes.
    Open,
    /// New connections are closed at once. [`Proxy::cut`] ends the existing ones.
    Refuse,
    /// Connections stay open, but no data passes in either direction, like a host that hangs.
    Silent,
    /// Requests pass, answers do not, and connections stay open.
    Mute,
    /// Requests pass, and the connection ends before the answer, so the client does not know whether the server
    /// committed.
    SwallowAnswers,
    /// Some requests lose their connection: before they arrive, while the server processes them, or when it answers.
    Cut,
}

/// The proxy. It closes its connections and stops on drop.
pub struct Proxy {
    /// Address on which it listens, `127.0.0.1:port`.
    pub address: String,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    target: String,
    mode: watch::Sender<Mode>,
    cuts: watch::Sender<u64>,
    connections: AtomicUsize,
    /// Types of the messages that clients sent. `None` for a protocol other than PostgreSQL's.
    frontend: Option<Mutex<Vec<u8>>>,
}

impl Proxy {
    /// Starts a proxy in front of the test server.
    pub async fn start() -> Self {
        let config: tokio_postgres::Config = setting("RINGFENCE_TEST_DATABASE_URL").parse().expect("a PostgreSQL URL");
        Self::start_before(format!("127.0.0.1:{}", config.get_ports()[0])).await
    }

    /// Starts a proxy in front of a PostgreSQL server or pooler at `host:port`.
    pub async fn start_before(target: String) -> Self {
        Self::bind(target, Some(Mutex::default())).await
    }

    /// Starts a proxy in front of any server on this machine. It counts no round trips.
    pub async fn start_before_port(port: u16) -> Self {
        Self::bind(format!("127.0.0.1:{port}"), None).await
    }

    async fn bind(target: String, frontend: Option<Mutex<Vec<u8>>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (mode, cuts) = (watch::Sender::new(Mode::Open), watch::Sender::new(0));
        let state = Arc::new(State { target, mode, cuts, connections: AtomicUsize::new(0), frontend });
        let accepted = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                accepted.connections.fetch_add(1, Ordering::SeqCst);
                if accepted.mode() != Mode::Refuse {
                    tokio::spawn(carry(client, Arc::clone(&accepted)));
                }
            }
        });
        Self { address, state, accepting }
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// Number of round trips that clients have begun since the last call, without the start-up of connections.
    #[must_use]
    pub fn take_round_trips(&self) -> usize {
        let frontend = self.state.frontend.as_ref().expect("a proxy in front of PostgreSQL");
        let frontend = std::mem::take(&mut *frontend.lock().expect("no panic while held"));
        frontend.iter().filter(|kind| ENDS_ROUND_TRIP.contains(kind)).count()
    }

    /// Number of connections that clients have opened, including refused ones.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        self.state.cuts.send_modify(|cut| *cut += 1);
    }

    /// Changes the mode. Connections that hung in the previous mode are closed.
    pub fn set(&self, mode: Mode) {
        self.state.mode.send_replace(mode);
    }

    /// [`Mode::SwallowAnswers`], or back to [`Mode::Open`].
    pub fn swallow_answers(&self, yes: bool) {
        self.set(if yes { Mode::SwallowAnswers } else { Mode::Open });
    }

    /// [`Mode::Mute`], or back to [`Mode::Open`].
    pub fn fall_silent(&self, yes: bool) {
        self.set(if yes { Mode::Mute } else { Mode::Open });
    }

    /// [`Mode::Refuse`], or back to [`Mode::Open`].
    pub fn refuse(&self, yes: bool) {
        self.set(if yes { Mode::Refuse } else { Mode::Open });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

impl State {
    fn mode(&self) -> Mode {
        *self.mode.borrow()
    }
}

async fn carry(client: TcpStream, state: Arc<State>) {
    let (mut cut, mode) = (state.cuts.subscribe(), state.mode.subscribe());
    let Ok(server) = TcpStream::connect(&state.target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let cut_at_answer = AtomicBool::new(false);
    tokio::select! {
        () = requests(from_client, to_server, &state, &cut_at_answer) => {}
        () = answers(from_server, to_client, &state, &cut_at_answer) => {}
        () = hung(mode) => {}
        _ = cut.changed() => {}
    }
}

/// Forwards the client's messages and records the type of each.
async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State, cut_at_answer: &AtomicBool) {
    let mut reader = FrontendReader::default();
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..count];
        if let Some(frontend) = &state.frontend {
            reader.read(bytes, &mut frontend.lock().expect("no panic while held"));
        }
        let mode = state.mode();
        let fate = if mode == Mode::Cut { fastrand::u8(..CUT_ONE_IN) } else { u8::MAX };
        match (mode, fate) {
            (Mode::Silent, _) => std::future::pending().await,
            (Mode::Cut, 0) => return,
            (Mode::Cut, 1) => {
                let _ = to.write_all(bytes).await;
                return;
            }
            (Mode::Cut, 2) => cut_at_answer.store(true, Ordering::SeqCst),
            _ => {}
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State, cut_at_answer: &AtomicBool) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        match state.mode() {
            Mode::Silent | Mode::Mute => std::future::pending().await,
            Mode::SwallowAnswers => return,
            Mode::Open | Mode::Refuse | Mode::Cut => {}
        }
        if cut_at_answer.load(Ordering::SeqCst) || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Waits until a mode in which connections hang ends.
async fn hung(mut mode: watch::Receiver<Mode>) {
    let mut before = *mode.borrow_and_update();
    while mode.changed().await.is_ok() {
        if matches!(before, Mode::Silent | Mode::Mute) {
            return;
        }
        before = *mode.borrow_and_update();
    }
}

/// Finds the messages in the client's stream. The first message (start-up) has no type; each later message has a type,
/// a length and a body. The password is an ordinary message.
#[derive(Default)]
struct FrontendReader {
    pending: Vec<u8>,
    started: bool,
}

impl FrontendReader {
    fn read(&mut self, bytes: &[u8], kinds: &mut Vec<u8>) {
        const REQUEST_TLS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
        self.pending.extend_from_slice(bytes);
        loop {
            let header = usize::from(self.started);
            let Some(length) = self.pending.get(header..header + 4) else { return };
            let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
            if self.pending.len() < header + length {
                return;
            }
            let message: Vec<u8> = self.pending.drain(..header + length).collect();
            if self.started {
                kinds.push(message[0]);
            }
            // A client may first request TLS, which these servers refuse. Its start-up message follows.
            self.started = self.started || message != REQUEST_TLS;
        }
    }
}
