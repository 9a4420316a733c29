//! Being asked to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Context, Result};

/// Ctrl-C, and what service managers and CI send instead. From its making on, neither ends the tool by itself.
pub struct Interruption {
    interrupt: Signal,
    terminate: Signal,
}

impl Interruption {
    pub fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("listen for signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Returns when asked to end.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
        }
    }
}
