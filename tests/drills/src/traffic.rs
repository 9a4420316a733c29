//! Whole calls of several orgs, sent during a fault.

use futures_util::future::try_join_all;
use jiff::Timestamp;

use super::site::Site;
use ringfence_harness::error::Result;
use ringfence_simulate::ledger::Ledger;
use ringfence_simulate::plan::{Call, Run};
use ringfence_simulate::sender::{Pace, Tally};
use ringfence_simulate::{Manner, Target, send};

/// Webhooks of every other org are repeated if they are not acknowledged. Those of the other orgs are not, as is Vapi's
/// default.
const ORGS: usize = 4;

/// Load for all orgs together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Number of calls.
    pub calls: usize,
    /// Calls that begin per second. `None` sends them as fast as they are answered.
    pub rate: Option<f64>,
    /// Whether the events of all calls of an org are shuffled.
    pub shuffle: bool,
    /// Number of additional deliveries of each event.
    pub duplicates: usize,
    /// Maximum number of concurrent webhooks.
    pub concurrency: usize,
}

/// An org of the drill with its calls.
pub(crate) struct Tenant {
    pub target: Target,
    pub ledger: Ledger,
    pub calls: Vec<Call>,
    /// Maximum number of attempts for a webhook.
    attempts: u32,
}

impl Tenant {
    /// Whether its webhooks are repeated if they are not acknowledged.
    pub(crate) fn is_persistent(&self) -> bool {
        self.attempts > 1
    }
}

/// Creates the orgs with their leads, one of them with the agent, and plans the calls of each.
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

/// Sends the calls of all tenants concurrently. Returns the tally of each tenant, in the order of the tenants.
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
