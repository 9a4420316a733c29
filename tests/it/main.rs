//! The integration tests: one binary over a real PostgreSQL and a real SQS API. Run with `cargo ringfence test`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod admin_operations;
mod administration;
mod call_functions;
mod cases;
mod claims;
mod console;
mod console_commands;
mod deployment;
mod drift;
mod erasure;
mod failures;
mod inputs;
mod interactive;
mod isolation;
mod live;
mod maintenance;
mod migrations;
mod numbers;
mod operations;
mod order;
mod parking;
mod plans;
mod platform;
mod reconciliation;
mod recordings;
mod requirements;
mod retry;
mod review_checklist;
mod telemetry;
mod tls;
mod vapi_setup;
mod webhook;
mod wire;
