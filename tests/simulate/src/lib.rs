//! Simulated calls: sent as Vapi sends real ones, then compared row by row with what must be in the tables.
//!
//! [`plan`] decides what happens in each call. [`bodies`], [`schedule`], [`signing`] and [`sender`] make webhooks of it;
//! [`expected`] makes rows of it, which [`compare`] holds against those that [`ledger`] reads.

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

/// Where calls are sent.
#[derive(Clone, Debug)]
pub struct Target {
    pub org: OrgId,
    /// The org's key.
    pub key: String,
    /// The org's webhook.
    pub webhook_url: String,
}

impl Target {
    /// A local stack's own org.
    #[must_use]
    pub fn of_stack(stack: &Stack) -> Self {
        Self { org: stack.org.id, key: stack.org.key.clone(), webhook_url: stack.webhook_url.clone() }
    }

    /// Whether requests stay on this machine, so that no proxy must get them.
    fn is_on_this_machine(&self) -> bool {
        let url = reqwest::Url::parse(&self.webhook_url).ok();
        url.is_some_and(|url| matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")))
    }
}

/// In which order and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// How often more than once each event is delivered.
    pub duplicates: usize,
    /// Whether the events of all calls are mixed up.
    pub shuffle: bool,
    pub pace: Pace,
    /// How often a webhook is posted at the most. Vapi posts it once unless it is told otherwise.
    pub attempts: u32,
}

impl Manner {
    /// Attempts of a sender that repeats what was not acknowledged.
    pub const PERSISTENT: u32 = 6;
}

/// The bodies of a call's webhooks, each once, in the order in which they happen.
#[must_use]
pub fn bodies_of(call: &Call) -> Vec<Value> {
    call.steps().into_iter().map(|step| bodies::body(call, step, 0)).collect()
}

/// Sends the calls.
pub async fn send(target: &Target, calls: &[Call], manner: Manner) -> Result<Tally> {
    let trains = schedule::schedule(calls, manner.duplicates, manner.shuffle);
    Ok(Sender::new(target, manner.attempts)?.send(trains, calls.len(), manner.pace).await)
}
