//! Simulated calls: sent as Vapi sends real ones, then compared row by row with what must be in the tables.
//!
//! [`plan`] decides what happens in each call. [`bodies`], [`schedule`], [`signing`] and [`sender`] make webhooks of it;
//! [`expected`] makes rows of it, which [`compare`] holds against those that [`ledger`] reads.

mod bodies;
pub(crate) mod cast;
pub(crate) mod compare;
pub(crate) mod demonstration;
mod expected;
pub(crate) mod ledger;
pub(crate) mod plan;
mod rows;
mod schedule;
pub(crate) mod sender;
mod show;
pub(crate) mod signing;
pub(crate) mod studio;

use ringfence_vapi::OrgId;
use serde_json::Value;

use self::plan::Call;
use self::sender::{Pace, Sender, Tally};
use crate::error::Result;
use crate::local::stack::Stack;

/// Where calls are sent.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) org: OrgId,
    /// The org's key.
    pub(crate) key: String,
    /// The org's webhook.
    pub(crate) webhook_url: String,
}

impl Target {
    /// A local stack's own org.
    pub(crate) fn of_stack(stack: &Stack) -> Self {
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
pub(crate) struct Manner {
    /// How often more than once each event is delivered.
    pub(crate) duplicates: usize,
    /// Whether the events of all calls are mixed up.
    pub(crate) shuffle: bool,
    pub(crate) pace: Pace,
    /// How often a webhook is posted at the most. Vapi posts it once unless it is told otherwise.
    pub(crate) attempts: u32,
}

impl Manner {
    /// Attempts of a sender that repeats what was not acknowledged.
    pub(crate) const PERSISTENT: u32 = 6;
}

/// The bodies of a call's webhooks, each once, in the order in which they happen.
pub(crate) fn bodies_of(call: &Call) -> Vec<Value> {
    call.steps().into_iter().map(|step| bodies::body(call, step, 0)).collect()
}

/// Sends the calls.
pub(crate) async fn send(target: &Target, calls: &[Call], manner: Manner) -> Result<Tally> {
    let trains = schedule::schedule(calls, manner.duplicates, manner.shuffle);
    Ok(Sender::new(target, manner.attempts)?.send(trains, calls.len(), manner.pace).await)
}
