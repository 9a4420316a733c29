//! A fake of API Gateway's WebSocket API for local runs and tests: clients connect to it, it invokes a function, and
//! holders of a connection's id push to it. It is not deployed.
//!
//! It behaves as AWS documents, for one stage, [`STAGE`], with the routes `$connect`, `$disconnect` and `$default`.
//! Differences from AWS:
//! - Management calls (`/@connections/{id}`) are not authenticated: a signature is neither required nor verified.
//! - There is no route selection: every message invokes `$default`, and the function's answer is not sent back.
//! - Only the size of whole messages is limited, not the size of their frames (32 KB in AWS).
//! - Messages of one connection are invoked one after another. AWS does not guarantee an order: do not rely on it.
//! - Header names have the usual spelling (`Sec-WebSocket-Protocol`), regardless of the client's spelling.

mod closing;
mod connect;
mod connection;
mod event;
mod function;
mod gateway;
mod limits;
mod management;
mod socket;

pub use gateway::FakeWebSocketGateway;
pub use limits::{Limits, MAX_FRAME_BYTES, MAX_MESSAGE_BYTES, STAGE};
