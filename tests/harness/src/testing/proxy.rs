//! A TCP proxy in front of PostgreSQL: it counts what crosses the wire and cuts connections on purpose.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::setting;

/// `Sync` and `Query`: each ends what the client sends in one round trip (PostgreSQL's frontend protocol).
const ENDS_ROUND_TRIP: [u8; 2] = *b"SQ";

/// The proxy. It is gone, with its connections, when dropped.
pub struct Proxy {
    /// Where it listens, `127.0.0.1:port`.
    pub address: String,
    state: Arc<State>,
    cuts: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    frontend: Mutex<Vec<u8>>,
    connections: AtomicUsize,
    swallow_answers: AtomicBool,
    silent: AtomicBool,
    refuse: AtomicBool,
}

impl Proxy {
    /// A proxy in front of the test server.
    pub async fn start() -> Self {
        let config: tokio_postgres::Config = setting("RINGFENCE_TEST_DATABASE_URL").parse().expect("a PostgreSQL URL");
        Self::start_before(format!("127.0.0.1:{}", config.get_ports()[0])).await
    }

    /// A proxy in front of any server.
    pub async fn start_before(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(State::default());
        let (cuts, cut) = watch::channel(0);
        let accepting = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                accepting.connections.fetch_add(1, Ordering::SeqCst);
                if accepting.refuse.load(Ordering::SeqCst) {
                    continue;
                }
                tokio::spawn(carry(client, target.clone(), Arc::clone(&accepting), cut.clone()));
            }
        });
        Self { address, state, cuts }
    }

    /// How many round trips clients have begun since the last call, start-up of connections left out.
    #[must_use]
    pub fn take_round_trips(&self) -> usize {
        let frontend = std::mem::take(&mut *self.state.frontend.lock().expect("no panic while held"));
        frontend.iter().filter(|kind| ENDS_ROUND_TRIP.contains(kind)).count()
    }

    /// How many connections clients have asked for, refused ones included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Cuts every connection now.
    pub fn cut(&self) {
        self.cuts.send_modify(|cut| *cut += 1);
    }

    /// From now on statements reach the server, and instead of the answer the client gets a cut connection: nobody can tell
    /// whether it was committed.
    pub fn swallow_answers(&self, yes: bool) {
        self.state.swallow_answers.store(yes, Ordering::SeqCst);
    }

    /// From now on answers are held back, and connections stay: a server that hangs.
    pub fn fall_silent(&self, yes: bool) {
        self.state.silent.store(yes, Ordering::SeqCst);
    }

    /// From now on new connections are closed at once.
    pub fn refuse(&self, yes: bool) {
        self.state.refuse.store(yes, Ordering::SeqCst);
    }
}

async fn carry(client: TcpStream, target: String, state: Arc<State>, mut cut: watch::Receiver<u64>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    cut.mark_unchanged();
    tokio::select! {
        () = requests(from_client, to_server, Arc::clone(&state)) => {}
        () = answers(from_server, to_client, state) => {}
        _ = cut.changed() => {}
    }
}

/// Carries the client's messages and notes the kind of each.
async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: Arc<State>) {
    let mut reader = FrontendReader::default();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        reader.read(&buffer[..count], &mut state.frontend.lock().expect("no panic while held"));
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: Arc<State>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if state.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if state.swallow_answers.load(Ordering::SeqCst) || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Finds the messages in the client's stream. The first has no kind (start-up), then each is a kind, a length and a body;
/// the password is a message like any other.
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
            // A client may first ask for TLS, which these servers refuse, and then starts as before.
            self.started = self.started || message != REQUEST_TLS;
        }
    }
}
