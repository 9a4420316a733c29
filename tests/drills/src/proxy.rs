//! A TCP proxy that does to connections what networks and failovers do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use ringfence_harness::error::{Context, Result};

/// Of so many requests one is cut in each of the three ways.
const CUT_ONE_IN: u8 = 12;
const CHUNK: usize = 64 * 1024;

/// What the proxy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It carries.
    Open,
    /// Connections end, and new ones are closed at once.
    Refuse,
    /// Connections stay, and nobody answers: a host that hangs.
    Silent,
    /// Requests arrive, and answers do not.
    Mute,
    /// Some requests lose their connection: before they arrive, while they are worked on, or when they are answered.
    Cut,
}

/// The proxy. It is gone, with its connections, when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A proxy in front of a server on this machine.
    pub(crate) async fn start(target_port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for connections")?;
        let address = listener.local_addr().context("listen for connections")?;
        let (mode, modes) = watch::channel(Mode::Open);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *modes.borrow() != Mode::Refuse {
                    tokio::spawn(carry(client, target_port, modes.clone()));
                }
            }
        });
        Ok(Self { address, mode, accepting })
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on it does this.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.mode.send_replace(Mode::Refuse);
    }
}

async fn carry(client: TcpStream, target_port: u16, mode: watch::Receiver<Mode>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target_port)).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let cut_at_answer = Arc::new(AtomicBool::new(false));
    tokio::select! {
        () = requests(from_client, to_server, mode.clone(), Arc::clone(&cut_at_answer)) => {}
        () = answers(from_server, to_client, mode.clone(), cut_at_answer) => {}
        () = ended(mode) => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mode: watch::Receiver<Mode>, cut: Arc<AtomicBool>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let now = *mode.borrow();
        let fate = if now == Mode::Cut { fastrand::u8(..CUT_ONE_IN) } else { u8::MAX };
        match (now, fate) {
            (Mode::Silent, _) => std::future::pending().await,
            (Mode::Cut, 0) => return,
            (Mode::Cut, 1) => {
                let _ = to.write_all(&buffer[..count]).await;
                return;
            }
            (Mode::Cut, 2) => cut.store(true, Ordering::SeqCst),
            _ => {}
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mode: watch::Receiver<Mode>, cut: Arc<AtomicBool>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let now = *mode.borrow();
        if matches!(now, Mode::Silent | Mode::Mute) {
            std::future::pending::<()>().await;
        }
        if cut.load(Ordering::SeqCst) || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Returns when the mode no longer lets the connection live. One that hung never answers again.
async fn ended(mut mode: watch::Receiver<Mode>) {
    let mut before = *mode.borrow_and_update();
    while mode.changed().await.is_ok() {
        let now = *mode.borrow_and_update();
        if now == Mode::Refuse || matches!(before, Mode::Silent | Mode::Mute) {
            return;
        }
        before = now;
    }
}
