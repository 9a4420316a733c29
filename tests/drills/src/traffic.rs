//! Whole calls of several orgs, while something fails.

use futures_util::future::try_join_all;
use jiff::Timestamp;

use super::site::Site;
use ringfence_harness::error::Result;
use ringfence_simulate::ledger::Ledger;
use ringfence_simulate::plan::{Call, Run};
use ringfence_simulate::sender::{Pace, Tally};
use ringfence_simulate::{Manner, Target, send};

/// Every other org's webhooks are repeated when they are not acknowledged; the others', like Vapi's by default, never.
const ORGS: usize = 4;

/// How much is sent, and how, to all orgs together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Calls.
    pub calls: usize,
    /// Calls that begin in a second; none: as fast as they are answered.
    pub rate: Option<f64>,
    /// Whether the events of all calls of an org are mixed up.
    pub shuffle: bool,
    /// How often more than once each event is delivered.
    pub duplicates: usize,
    /// Webhooks that wait for their answer at the same time.
    pub concurrency: usize,
}

/// An org of the drill, with the calls that are sent to it.
pub(crate) struct Tenant {
    pub target: Target,
    pub ledger: Ledger,
    pub calls: Vec<Call>,
    /// How often a webhook is posted at the most.
    attempts: u32,
}

impl Tenant {
    /// Whether its webhooks are repeated when they are not acknowledged.
    pub(crate) fn is_persistent(&self) -> bool {
        self.attempts > 1
    }
}

/// New orgs with their leads, one of them with the agent, and the calls that each is to get.
pub(crate) async fn tenants(site: &Site<'_>, load: Load) -> Result<Vec<Tenant>> {
    let mut tenants = Vec::new();
    for index in 0..ORGS {
        let target = site.create_org(&format!("Drill {index}")).await?;
        let mut ledger = Ledger::open(&site.owner_url, target.org).await?;
        ledger.add_cast(&site.administration, target.org, index == 0).await?;
        let calls = Run::new(Timestamp::now(), false).calls(load.calls.div_ceil(ORGS));
        let attempts = if index % 2 == 0 { Manner::PERSISTENT } else { 1 };
        tenants.push(Tenant { target, ledger, calls, attempts });
    }
    Ok(tenants)
}

/// Sends every tenant's calls, all at the same time. What became of each tenant's webhooks, in the order of the tenants.
pub(crate) async fn send_all(tenants: &[Tenant], load: Load) -> Result<Vec<Tally>> {
    #[expect(clippy::cast_precision_loss, reason = "there are a few orgs")]
    let share = |rate: f64| rate / ORGS as f64;
    let pace = Pace { rate: load.rate.map(share), concurrency: load.concurrency.div_ceil(ORGS) };
    let sent = tenants.iter().map(|tenant| {
        let Load { duplicates, shuffle, .. } = load;
        send(&tenant.target, &tenant.calls, Manner { duplicates, shuffle, pace, attempts: tenant.attempts })
    });
    try_join_all(sent).await
}
