//! Logs: JSON lines with a short message and dotted fields, once per boundary. Never a body, a number, a text or a secret.

use tracing_subscriber::EnvFilter;

/// Starts logging to standard output. `RUST_LOG` chooses the level, `info` by default.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false).with_env_filter(filter).init();
    std::panic::set_hook(Box::new(|panic| {
        // The place only: a panic's message may quote the data that it could not handle.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(panic.location = place, "panicked");
    }));
}
