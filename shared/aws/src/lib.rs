//! AWS services through the SDK: SQS queues, S3 buckets, WebSocket connections, Lambda invocations. Each SDK client has
//! a cargo feature, so that a function links only the clients that it uses.

pub mod config;

#[cfg(feature = "s3")]
pub mod bucket;
#[cfg(feature = "connections")]
pub mod connections;
#[cfg(feature = "lambda")]
pub mod invoke;
#[cfg(feature = "sqs")]
pub mod queue;

#[cfg(feature = "s3")]
pub use bucket::Bucket;
#[cfg(feature = "connections")]
pub use connections::Connections;
#[cfg(feature = "lambda")]
pub use invoke::Invoker;
#[cfg(feature = "sqs")]
pub use queue::{Queue, QueueError};
