//! Signals that end the program.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Context, Result};

/// Listens for SIGINT (Ctrl-C) and SIGTERM (service managers, CI). While it exists, these signals do not end the
/// process.
pub struct Interruption {
    interrupt: Signal,
    terminate: Signal,
}

impl Interruption {
    pub fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("listen for signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Returns when the process receives one of the signals.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
        }
    }
}
