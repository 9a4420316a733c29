//! Outbound HTTP: a client with an egress policy, the endpoints of orgs, and Vapi's REST API.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking"))]

pub mod client;
pub mod endpoints;
pub mod tls;
pub mod vapi_api;

pub use client::{EgressClient, EgressError, EgressPolicy};
pub use endpoints::{EndpointError, Endpoints, Notice};
pub use vapi_api::{VapiApi, VapiApiError};
