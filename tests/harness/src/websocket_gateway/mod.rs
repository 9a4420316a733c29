//! A fake of API Gateway's WebSocket API, for local runs and tests: clients connect to it, it invokes a function, and whoever
//! knows a connection's id pushes to it. It is no part of what is deployed.
//!
//! It behaves as AWS documents, for one stage, [`STAGE`], with the routes `$connect`, `$disconnect` and `$default`. What it
//! leaves out:
//! - Management calls (`/@connections/{id}`) are not authenticated: a signature is neither wanted nor verified.
//! - There is no route selection: every message goes to `$default`, and what the function answers is not sent to the client.
//! - Only the size of whole messages is limited, not the size of their frames (32 KB in AWS).
//! - Messages of one connection are invoked one after another. AWS promises no order: do not rely on it.
//! - Header names arrive in the usual spelling (`Sec-WebSocket-Protocol`), whatever the client wrote.

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
pub use limits::{Limits, MAX_MESSAGE_BYTES, STAGE};
