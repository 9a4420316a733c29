//! Many connections on one call, and on one org: the throughput of pgbench with the webhook function's statement,
//! compared with the same load on a call, or an org, per connection.

use std::time::Duration;

use super::Length;
use super::events::{CALL_PREFIX, Events, Kind};
use super::load::{Figures, Run, Window};
use super::pgbench::{self, Connections, Script};
use super::site::Site;
use super::table::{Report, Table, median, number};
use ringfence_harness::error::{Context, Result};

const CONNECTIONS: u64 = 16;
const FIRST_RUN: u64 = 2_000;
/// An org per connection, with the same assistant and the leads of the connection's calls.
const ORGS: [&str; 4] = [
    "INSERT INTO organizations (id, name)
        SELECT ('{prefix}' || 100000000000 + n)::uuid, 'Tenant of connection ' || n FROM generate_series(0, 63) AS n",
    "INSERT INTO organization_keys (org_id, version)
        SELECT ('{prefix}' || 100000000000 + n)::uuid, 1 FROM generate_series(0, 63) AS n",
    "INSERT INTO agents (org_id, name, vapi_assistant_id)
        SELECT ('{prefix}' || 100000000000 + n)::uuid, 'Front desk', '4dac6abb-472a-4a1d-8f6c-c2ed74e2cf44'
        FROM generate_series(0, 63) AS n",
    "INSERT INTO leads (org_id, phone)
        SELECT ('{prefix}' || 100000000000 + n / 1000)::uuid, '+1' || (2000000000 + n) FROM generate_series(0, 63999) AS n",
];

/// A load.
#[derive(Clone, Copy)]
struct Load {
    kind: Kind,
    /// Whether all connections send events of one call.
    is_one_call: bool,
    /// Whether all connections send events of one org.
    is_one_org: bool,
}

/// Compares a load on one call or one org with the same load apart.
struct Comparison {
    name: &'static str,
    hot: Load,
    apart: Load,
}

const fn load(kind: Kind, is_one_call: bool, is_one_org: bool) -> Load {
    Load { kind, is_one_call, is_one_org }
}

const COMPARISONS: [Comparison; 4] = [
    Comparison {
        name: "status updates of one call, of a call per connection",
        hot: load(Kind::CallStarted, true, true),
        apart: load(Kind::CallStarted, false, true),
    },
    Comparison {
        name: "transcripts of one call, of a call per connection",
        hot: load(Kind::Transcript, true, true),
        apart: load(Kind::Transcript, false, true),
    },
    Comparison {
        name: "first events of calls of one org, of an org per connection",
        hot: load(Kind::CallStarted, false, true),
        apart: load(Kind::CallStarted, false, false),
    },
    Comparison {
        name: "transcripts of one org, of an org per connection",
        hot: load(Kind::Transcript, false, true),
        apart: load(Kind::Transcript, false, false),
    },
];

/// Measures in alternating rounds.
pub(super) async fn measure(site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
    if !pgbench::is_installed(site) {
        return Ok(());
    }
    let (rounds, millis) = if length == Length::Full { (5, 2_000) } else { (1, 500) };
    let window = Window { warm_up: Duration::from_millis(500), length: Duration::from_millis(millis) };
    make_orgs(site).await?;
    let columns =
        ["load, and what it is compared with", "events/s", "compared/s", "ratio", "CPU us", "compared, CPU us"];
    let mut table = Table::new(format!("One call and one org on {CONNECTIONS} connections"), &columns);
    site.pin(true)?;
    let mut number_of_run = FIRST_RUN;
    for comparison in COMPARISONS {
        // For calls: each connection stays with one call; for orgs: each event starts or continues the next call.
        let is_of_calls = comparison.hot.is_one_call;
        let mut figures = Vec::new();
        for _ in 0..rounds {
            let run = |number| Run { number, clients: CONNECTIONS, repeat: None };
            let hot = one(site, comparison.hot, is_of_calls, (run(number_of_run), window)).await?;
            let apart = one(site, comparison.apart, is_of_calls, (run(number_of_run + 1), window)).await?;
            number_of_run += 2;
            figures.push((hot, apart));
        }
        let cells = [
            median(figures.iter().map(|it| it.0.per_second)),
            median(figures.iter().map(|it| it.1.per_second)),
            median(figures.iter().map(|(hot, apart)| hot.per_second / apart.per_second)),
            median(figures.iter().map(|it| it.0.sessions_cpu)),
            median(figures.iter().map(|it| it.1.sessions_cpu)),
        ];
        table.row([comparison.name.to_owned()].into_iter().chain(cells.map(number)));
    }
    site.pin(false)?;
    report.add(table);
    Ok(())
}

async fn make_orgs(site: &Site<'_>) -> Result<()> {
    let client = site.superuser().await?;
    for statement in ORGS {
        client.batch_execute(&statement.replace("{prefix}", CALL_PREFIX)).await.context("make orgs")?;
    }
    client.batch_execute("VACUUM ANALYZE").await.context("analyse the orgs")
}

async fn one(site: &Site<'_>, load: Load, is_of_calls: bool, (run, window): (Run, Window)) -> Result<Figures> {
    let events = Events::of(site, load.kind)?;
    let events = if is_of_calls { events.distinct() } else { events };
    let mut script = Script::counting(load.kind, run);
    if is_of_calls {
        let of_connection = if load.is_one_call { "0" } else { ":client_id" };
        script.set("call", &format!("{} + {of_connection}", load.kind.first_call(run.number)));
        // Events of one call differ in their number, also those of different connections.
        script.set("number", ":number + :client_id * 1000000");
    }
    script.set("org", "100000000000 + :client_id");
    let org = if load.is_one_org { format!("'{}'", site.org) } else { format!("'{CALL_PREFIX}' || :org::text") };
    script.apply(&org, &events);
    let connections = Connections { url: &site.app_url, count: run.clients, are_prepared: false };
    let (answered, usage) = pgbench::run_script(site, &script, connections, window).await?;
    Ok(answered.figures(usage))
}
