//! What surrounds a handler: authentication, retry queues, telemetry, configuration.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking"))]

pub mod auth;
pub mod backoff;
pub mod configuration;
pub mod consumer;
pub mod envelope;
pub mod handover;
pub mod keys;
pub mod metrics;
pub mod parking;
pub mod problem;
pub mod queue;
pub mod report;
pub mod start;
pub mod telemetry;

mod signature;

pub use auth::{Authenticator, Raw, Verified};
pub use backoff::Backoff;
pub use configuration::{Environment, Misconfigured};
pub use handover::Handover;
pub use keys::{Key, MasterKeys};
pub use parking::Parking;
pub use queue::{FunctionQueues, Queue, QueueError, RetryQueues};
