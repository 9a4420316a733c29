//! What every function runs on: one SQS batch consumer, one event pipeline, HTTP reception, telemetry, configuration.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking"))]

pub mod backoff;
pub mod codes;
pub mod configuration;
pub mod consumer;
pub mod envelope;
#[cfg(feature = "parking")]
pub mod events;
#[cfg(feature = "handover")]
pub mod handover;
pub mod metrics;
#[cfg(feature = "parking")]
pub mod parking;
pub mod pipeline;
pub mod problem;
pub mod pusher;
pub mod queues;
pub mod reception;
pub mod recordings;
#[cfg(feature = "handover")]
pub mod retry_queues;
#[cfg(feature = "handover")]
pub mod route;
pub mod sentry;
pub mod start;
pub mod telemetry;
pub mod trace;

mod event_log;
mod panics;

pub use backoff::Backoff;
pub use codes::Coded;
pub use configuration::{Environment, Misconfigured};
pub use consumer::{Consumer, Disposition, Record, Worker};
#[cfg(feature = "handover")]
pub use handover::Handover;
pub use panics::catch_panics;
#[cfg(feature = "parking")]
pub use parking::Parking;
pub use pipeline::Pipeline;
pub use pusher::Pusher;
pub use queues::FunctionQueues;
pub use reception::{Answer, Refusal};
pub use recordings::RecordingQueue;
#[cfg(feature = "handover")]
pub use retry_queues::RetryQueues;
#[cfg(feature = "handover")]
pub use route::Route;
