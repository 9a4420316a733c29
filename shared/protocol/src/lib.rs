//! The messages that Ringfence's functions exchange: types and their JSON. No I/O, no SQL.
//!
//! A queued message may be read by a later release than the one that wrote it, so each release must be able to read
//! the messages of the previous one.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking"))]

pub mod admin;
pub mod broadcast;
pub mod delivery;
pub mod envelope;
pub mod live;
pub mod maintenance;
pub mod recording;

mod connection;

pub use broadcast::Broadcast;
pub use connection::ConnectionId;
pub use delivery::{Credential, Delivery, FailedAttempt, SealedLink};
pub use envelope::{Envelope, ParkRequest, ParkedKey};
pub use live::Frame;
pub use recording::{Recording, RecordingMessage};
