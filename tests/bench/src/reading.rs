//! Latency of the console's pages: the statement of each page, run by the functions' role on a grown database.

use std::time::Instant;

use super::site::Site;
use super::table::{Limit, Report, Table, median, number};
use ringfence_harness::error::{Context, Result};
use ringfence_harness::local::connection;

/// Large amounts of all other rows: twenty agents with calls of every kind in every hour of a month, more open failures
/// than a page reads, and an audit log of years.
const FILL: [&str; 5] = [
    "INSERT INTO agents (org_id, id, name, phone_number) SELECT '{org}', md5('agent-' || n)::uuid, 'Agent ' || n, '+1555555' || (1000 + n)
        FROM generate_series(1, 20) AS n",
    "INSERT INTO call_rollups (org_id, agent_id, period, measure, since, is_connected, bucket, calls, total)
        SELECT '{org}', a, p, m, date_trunc(p, now(), 'UTC') - h * ('1 ' || p)::interval, c, b::text, 3, 60
        FROM unnest(ARRAY['00000000-0000-0000-0000-000000000000'::uuid] || (SELECT array_agg(id) FROM agents WHERE org_id = '{org}')) AS a,
            (SELECT 'hour' AS p, h FROM generate_series(0, 720) AS h UNION ALL SELECT 'day', d FROM generate_series(0, 30) AS d) AS periods,
            (VALUES (true), (false)) AS of (c),
            (SELECT 'duration' AS m, b FROM generate_series(0, 40) AS b UNION ALL SELECT 'cost', b FROM generate_series(-20, 10) AS b
             UNION ALL SELECT 'family', b FROM generate_series(1, 8) AS b) AS measured (m, b)",
    "INSERT INTO event_rollups (org_id, period, measure, since, bucket, events)
        SELECT '{org}', p, m, date_trunc(p, now(), 'UTC') - h * ('1 ' || p)::interval, b::text, 100
        FROM unnest('{hour,day}'::text[]) AS p, generate_series(0, 720) AS h,
            unnest('{delivery_ms,apply_ms,failure}'::text[]) AS m, generate_series(0, 40) AS b",
    "INSERT INTO failed_operations (org_id, event_id, event_type, vapi_call_id, function, state, code, receives, received_at, event,
            first_failed_at, last_failed_at)
        SELECT '{org}', 'hang:call-' || n || ':1', 'hang', 'call-' || n, 'call-started', 'dead', 'RF2001', 1, now(), '{}', now(),
            now() - n * interval '1 second'
        FROM generate_series(1, 20000) AS n",
    "INSERT INTO audit_log (actor, action, org_id, subject)
        SELECT 'ada', 'operator.view', '{org}', 'calls' FROM generate_series(1, 100000)",
];

/// Statements of the pages. `{call}` is a call of the org, `{agent}` one of its agents.
const PAGES: [(&str, &str); 12] = [
    ("calls, the latest", "SELECT list_calls_v1('{org}', '{}', NULL, 50)"),
    (
        "calls of a number that has them all",
        "SELECT list_calls_v1('{org}', '{\"number\": \"+15555550142\"}', NULL, 50)",
    ),
    ("calls of a status that none has", "SELECT list_calls_v1('{org}', '{\"status\": \"queued\"}', NULL, 50)"),
    ("a call by its id", "SELECT list_calls_v1('{org}', '{\"call_id\": \"{call}\"}', NULL, 50)"),
    ("a call's page", "SELECT show_call_v1('{org}', '{call}')"),
    ("failures, of more than are looked at", "SELECT list_failures_v1('{org}', '{}', NULL, NULL, 50)"),
    ("failures of a call", "SELECT list_failures_v1('{org}', '{\"call_id\": \"call-77\"}', NULL, NULL, 50)"),
    ("audit", "SELECT list_audit_v1('{org}', '{}', NULL, 50)"),
    ("numbers of a day", "SELECT show_numbers_v1('{org}', NULL, now() - interval '23 hours', now(), 'hour')"),
    ("numbers of a month", "SELECT show_numbers_v1('{org}', NULL, now() - interval '29 days', now(), 'day')"),
    ("an agent's month", "SELECT show_numbers_v1('{org}', '{agent}', now() - interval '29 days', now(), 'day')"),
    ("all orgs", "SELECT list_organizations_v1('bench')"),
];

/// Measures each page on a filled database.
pub(super) async fn measure(site: &Site<'_>, report: &mut Report) -> Result<()> {
    let client = site.superuser().await?;
    let org = site.org.to_string();
    for statement in FILL {
        client.batch_execute(&statement.replace("{org}", &org)).await.context("make what pages show")?;
    }
    client.batch_execute("ANALYZE").await.context("make what pages show")?;
    let one = client
        .query_one(
            "SELECT (SELECT vapi_call_id FROM call_logs WHERE org_id = $1 LIMIT 1), (SELECT id::text FROM agents WHERE org_id = $1 LIMIT 1)",
            &[site.org.as_uuid()],
        )
        .await
        .context("find a call")?;
    let (call, agent): (String, String) = (one.get(0), one.get(1));
    let app = connection::open(&site.app_url).await?;
    let mut table = Table::new("Pages of the console", &["page", "median, ms", "longest of 20, ms"]);
    for (page, statement) in PAGES {
        let statement = statement.replace("{org}", &org).replace("{call}", &call).replace("{agent}", &agent);
        let mut took = Vec::new();
        for _ in 0..20 {
            let began = Instant::now();
            app.query_one(&statement, &[]).await.context(format_args!("ask for {page}"))?;
            took.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        let longest = took.iter().copied().fold(0.0, f64::max);
        let median = median(took);
        table.row([page.to_owned(), number(median), number(longest)]);
        report.database_goal(format!("{page}: ms"), median, Limit::AtMost(100.0));
    }
    report.add(table);
    Ok(())
}
