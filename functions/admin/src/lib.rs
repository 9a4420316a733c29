//! Migrations and administration, for CloudFormation at deploy time and for `cargo ringfence` at any time. The only crate
//! whose functions have the credentials of the database's owner.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking"))]

pub mod administration;
pub mod connect;
pub mod console_commands;
pub mod deployment;
pub mod erase;
pub mod error;
pub mod operations;
mod quarantine;
pub mod redrive;

pub use administration::Administration;
pub use console_commands::ConsoleCommands;
pub use error::CommandError;

use ringfence_protocol::admin::Command;
use ringfence_vapi::exact_numbers;
use serde::Deserialize;

/// What the function is invoked with; anything else is refused.
#[derive(Deserialize)]
#[serde(untagged, remote = "Self")]
pub enum Invocation {
    /// CloudFormation creates, updates or deletes the custom resource.
    Deployment(deployment::Request),
    /// The operator's tool, or a schedule.
    Command(Command),
}

exact_numbers!(deserialize Invocation);
