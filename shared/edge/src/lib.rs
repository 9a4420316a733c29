//! What surrounds a handler: authentication, retry queues, orgs' endpoints, telemetry, configuration.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking"))]

pub mod auth;
pub mod aws;
pub mod backoff;
pub mod broadcast;
pub mod bucket;
pub mod configuration;
pub mod connections;
pub mod consumer;
pub mod endpoints;
pub mod envelope;
pub mod handover;
pub mod keys;
pub mod metrics;
pub mod outbound;
pub mod parking;
pub mod problem;
pub mod pusher;
pub mod queue;
pub mod reception;
pub mod recordings;
pub mod report;
pub mod route;
pub mod seal;
pub mod sentry;
pub mod start;
pub mod telemetry;
pub mod tokens;
pub mod trace;
pub mod vapi_api;

mod signature;

pub use auth::{Authenticator, Raw, Verified};
pub use backoff::Backoff;
pub use broadcast::Broadcast;
pub use bucket::Bucket;
pub use configuration::{Environment, Misconfigured};
pub use connections::Connections;
pub use endpoints::Endpoints;
pub use handover::Handover;
pub use keys::{Key, MasterKeys};
pub use outbound::{Outbound, OutboundError, Reach};
pub use parking::Parking;
pub use pusher::Pusher;
pub use queue::{FunctionQueues, Queue, QueueError, RetryQueues};
pub use reception::{Answer, Refusal};
pub use recordings::RecordingQueue;
pub use route::Route;
pub use seal::Sealer;
pub use tokens::{Audience, Claims, Scope, Tokens};
pub use vapi_api::VapiApi;
