//! Logs: JSON lines with a short message and dotted fields, once per boundary. Never a body, a phone number, a transcript or a secret.

use crate::sentry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt, registry};

/// Starts logging to standard output. `RUST_LOG` chooses the level, `info` by default.
pub fn start() {
    // Levels by target are enough; filters by field would link a regex engine into every function.
    let chosen = std::env::var("RUST_LOG").ok().and_then(|levels| levels.parse::<Targets>().ok());
    let filter = chosen.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = fmt::layer().json().flatten_event(true).with_current_span(false);
    registry().with(lines.with_filter(filter)).init();
    sentry::start();
    std::panic::set_hook(Box::new(|panic| {
        // The location only: the message of a panic may quote the data that caused it.
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(panic.location = location, "panicked");
        sentry::panicked(&location);
    }));
}
