//! Fixtures of the tests: fresh databases, signed requests, sample bodies, real queues and a proxy that cuts
//! connections.
//!
//! `cargo ringfence test` starts PostgreSQL and SQS and passes their addresses. Every function here panics on failure,
//! which fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, reason = "tests fail by panicking")]

pub mod bodies;
pub mod call;
pub mod certificates;
pub mod database;
pub mod endpoint;
pub mod fake_lambda;
pub mod fake_vapi;
pub mod pgbouncer;
pub mod proxy;
pub mod queues;
pub mod server;
pub mod tables;
pub mod webhook;

mod program;

pub use crate::wait::eventually;
pub use bodies::{sample, sample_bytes, sample_names};
pub use call::Call;
pub use certificates::TestCa;
pub use database::TestDatabase;
pub use endpoint::TestEndpoint;
pub use fake_lambda::FakeLambda;
pub use fake_vapi::FakeVapi;
pub use pgbouncer::PgBouncer;
pub use proxy::Proxy;
pub use queues::TestQueues;
pub use server::TestServer;
pub use webhook::TestWebhook;

/// A variable that `cargo ringfence test` sets.
#[must_use]
pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests with `cargo ringfence test`"))
}
