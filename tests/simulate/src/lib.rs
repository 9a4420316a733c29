//! Simulated calls: they are sent as Vapi sends real ones, and then the rows are compared with the expected rows.
//!
//! [`plan`] decides the content of each call. [`bodies`], [`schedule`], [`signing`] and [`sender`] turn it into
//! webhooks. [`expected`] computes rows from it, and [`compare`] compares them with the rows that [`ledger`] reads.

mod bodies;
pub mod cast;
pub mod compare;
mod expected;
pub mod ledger;
pub mod plan;
pub mod recording;
mod rows;
mod schedule;
pub mod sender;
pub mod show;
pub mod signing;

use ringfence_vapi::OrgId;
use serde_json::Value;

use self::plan::Call;
use self::sender::{Pace, Sender, Tally};
use ringfence_harness::error::Result;
use ringfence_harness::local::stack::Stack;

/// Destination of calls.
#[derive(Clone, Debug)]
pub struct Target {
    pub org: OrgId,
    /// Key of the org.
    pub key: String,
    /// Webhook URL of the org.
    pub webhook_url: String,
}

impl Target {
    /// Own org of the local stack.
    #[must_use]
    pub fn of_stack(stack: &Stack) -> Self {
        Self { org: stack.org.id, key: stack.org.key.clone(), webhook_url: stack.webhook_url.clone() }
    }

    /// Whether requests stay on this machine and must not use a proxy.
    fn is_on_this_machine(&self) -> bool {
        let url = reqwest::Url::parse(&self.webhook_url).ok();
        url.is_some_and(|url| matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")))
    }
}

/// Order and rate of the webhooks.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Number of additional deliveries of each event.
    pub duplicates: usize,
    /// Whether the events of all calls are shuffled.
    pub shuffle: bool,
    pub pace: Pace,
    /// Maximum number of attempts for a webhook. Vapi's default is one.
    pub attempts: u32,
}

impl Manner {
    /// Attempts of a sender that repeats webhooks that are not acknowledged.
    pub const PERSISTENT: u32 = 6;
}

/// Bodies of a call's webhooks, each once, in chronological order.
#[must_use]
pub fn bodies_of(call: &Call) -> Vec<Value> {
    call.steps().into_iter().map(|step| bodies::body(call, step, 0)).collect()
}

/// Sends the calls.
pub async fn send(target: &Target, calls: &[Call], manner: Manner) -> Result<Tally> {
    let trains = schedule::schedule(calls, manner.duplicates, manner.shuffle);
    Ok(Sender::new(target, manner.attempts)?.send(trains, calls.len(), manner.pace).await)
}
