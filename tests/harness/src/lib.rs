//! Helpers of the tests, drills and benchmarks.
//!
//! [`local`] is the local stack, [`lambda`] runs functions as Lambda does, and [`websocket_gateway`] is a fake of API
//! Gateway's WebSocket API. [`testing`] has the fixtures of a test: a fresh database, signed requests, sample bodies,
//! real queues, and a proxy that cuts connections.

pub mod interruption;
pub mod lambda;
pub mod local;
pub mod process_usage;
pub mod testing;
pub mod viewer;
pub mod wait;
pub mod websocket_gateway;

pub use ringfence_cli::error;
