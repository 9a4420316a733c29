//! The fake gateway as clients, functions and the AWS SDK use it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod closing;
mod connecting;
mod helpers;
mod messages;
mod pushes;
