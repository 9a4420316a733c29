//! Administration: the commands that the admin function takes, and its replies.

mod agents;
mod command;
mod erasure;
mod failures;
mod organizations;
mod reply;
mod vapi;

pub use agents::{AddedAgent, ListedAgent, NewAgent, Resolved, Tool, ToolKind};
pub use command::{Command, Secret};
pub use erasure::{Erasable, Erasure, Target};
pub use failures::{DeadLetters, FailedOperation, ReplayCursor, Replayable, Replayed, Selection};
pub use organizations::{Finding, Organization, OrganizationKey, RetainedData};
pub use reply::Reply;
pub use vapi::{Connection, ServerCheck};
