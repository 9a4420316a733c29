//! What the tests, drills and benches stand on.
//!
//! [`testing`] has what one test needs: a fresh database, signed requests, sample bodies, real queues, a proxy that cuts connections.
//! [`websocket_gateway`] is a fake of API Gateway's WebSocket API.

pub mod testing;
pub mod websocket_gateway;
