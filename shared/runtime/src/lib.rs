//! What every function runs on: one SQS batch consumer, one event pipeline, HTTP reception, telemetry, configuration.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking"))]

pub mod backoff;
pub mod codes;
pub mod configuration;
#[cfg(feature = "queues")]
pub mod consumer;
pub mod drift;
pub mod envelope;
#[cfg(feature = "parking")]
pub mod events;
#[cfg(feature = "handover")]
pub mod handover;
pub mod metrics;
#[cfg(feature = "parking")]
pub mod parking;
#[cfg(feature = "pipeline")]
pub mod pipeline;
pub mod problem;
#[cfg(feature = "pipeline")]
pub mod pusher;
#[cfg(feature = "queues")]
pub mod queues;
pub mod reception;
#[cfg(feature = "queues")]
pub mod recordings;
#[cfg(feature = "handover")]
pub mod retry_queues;
#[cfg(feature = "handover")]
pub mod route;
pub mod sentry;
pub mod start;
pub mod telemetry;
pub mod trace;

#[cfg(feature = "pipeline")]
mod event_log;
mod panics;

pub use backoff::Backoff;
pub use codes::Coded;
pub use configuration::{Environment, Misconfigured};
#[cfg(feature = "queues")]
pub use consumer::{Consumer, Disposition, Record, Worker};
pub use drift::{DriftCounter, Quarantine};
#[cfg(feature = "handover")]
pub use handover::Handover;
pub use panics::catch_panics;
#[cfg(feature = "parking")]
pub use parking::{Parking, ParkingError};
#[cfg(feature = "pipeline")]
pub use pipeline::Pipeline;
#[cfg(feature = "pipeline")]
pub use pusher::Pusher;
#[cfg(feature = "queues")]
pub use queues::FunctionQueues;
pub use reception::{Answer, Reception, Refusal};
#[cfg(feature = "queues")]
pub use recordings::RecordingQueue;
#[cfg(feature = "handover")]
pub use retry_queues::RetryQueues;
#[cfg(feature = "handover")]
pub use route::Route;
