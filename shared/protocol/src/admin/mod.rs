//! Administration: the commands of the function `admin`, and its replies.

use std::time::Duration;

mod agents;
mod command;
mod console;
mod erasure;
mod failures;
mod operations;
mod organizations;
mod reply;
mod vapi;

pub use agents::{AddedAgent, ListedAgent, NewAgent, Resolved, Tool, ToolKind};
pub use command::{Command, Secret};
pub use console::{ConsoleCommand, ConsoleReply, ConsoleRequest};
pub use erasure::{Erasable, Erasure, Target};
pub use failures::{DeadLetters, FailedOperation, Replayable, Selection};
pub use operations::{Operation, OperationKind, OperationState};
pub use organizations::{Finding, Organization, OrganizationKey, RetainedData};
pub use reply::{Drift, Reply};
pub use vapi::{Connection, ServerCheck};

/// The longest lifetime of a live-view token or a console token.
pub const MAX_TOKEN_LIFETIME: Duration = Duration::from_hours(12);
