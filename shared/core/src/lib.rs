//! Idempotency claims and atomic org-scoped updates: one function per SQL statement, over tokio-postgres. The SQL is in
//! `migrations/`.
//!
//! [`events`] is the hot path: one statement claims an event, applies its effects and returns the org's viewers, or
//! changes nothing. [`failures`] records failed events, [`live`] serves viewers, [`interactive`] answers interactive
//! messages, [`drift`] stores what this version does not know, [`recordings`] tracks recordings, and [`console`] reads the pages of the console. [`admin`] changes the
//! configuration, each command with its entry in the audit log. [`migrations`] installs the schema.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking"))]

pub mod admin;
pub mod connect;
pub mod console;
pub mod database;
pub mod drift;
pub mod error;
pub mod events;
pub mod failures;
pub mod health;
pub mod interactive;
pub mod live;
pub mod maintenance;
pub mod migrations;
pub mod numbers;
pub mod rds;
pub mod reconciliation;
pub mod recordings;

mod circuit_breaker;
mod lease;

pub use connect::{ConfigurationError, DatabaseSettings, Timeouts};
pub use database::Database;
pub use error::Failure;
pub use events::{Outcome, apply_event};
pub use failures::FailedState;
pub use lease::LeaseHolder;
