//! Effect of ten million claims and a million calls on the hot statements: the same load on an empty database and on a
//! grown one, in alternating rounds.

use std::time::{Duration, Instant};

use super::events::{Events, Kind};
use super::load::{Figures, Run, Window};
use super::site::Site;
use super::table::{Limit, Report, Table, median, number};
use super::{Length, pgbench, reading};
use ringfence_harness::error::{Context, Result};
use ringfence_harness::local::progress;

/// Calls of the grown database. Each has ten claims. Nine of ten calls belong to the org of the load.
const CALLS: i64 = 1_000_000;
const SHORT_CALLS: i64 = 1_000;
/// Number of calls that one statement inserts.
const STEP: i64 = 50_000;
const FIRST_RUN: u64 = 6_000;

/// The other tenants.
const TENANTS: &str = "
    INSERT INTO organizations (id, name) SELECT md5('tenant-' || n)::uuid, 'Tenant ' || n FROM generate_series(1, 1000) AS n";
/// Calls $2 up to $3. They are older than those of the load: their ids are smaller, as ids of version 7 would be.
const CALLS_OF_STEP: &str = "
    CREATE TEMPORARY TABLE step AS SELECT n, md5('call-' || n)::uuid AS id,
        CASE WHEN n % 10 = 0 THEN md5('tenant-' || (1 + n / 10 % 1000))::uuid ELSE '{org}'::uuid END AS org_id,
        '019d6b00-' || lpad(to_hex(n / 65536), 4, '0') || '-7' || lpad(to_hex(n % 4096), 3, '0') || '-a178-'
            || substr(md5(n::text), 1, 12) AS call
        FROM generate_series({from}::bigint, {to}::bigint - 1) AS n;
    INSERT INTO call_logs (id, org_id, vapi_call_id, status, direction, from_number, to_number, started_at, ended_at,
            duration_seconds, ended_reason, outcome, summary, transcript)
        SELECT id, org_id, call, 'completed', 'inbound', '+15555550142', '+15555550100', now(), now(), 60, 'customer-ended-call',
            'customer-ended', repeat('The heater leaks. ', 5), repeat('AI: How can I help? ', 20) FROM step;
    INSERT INTO call_tracking (org_id, vapi_call_id, status, phone_number, answered)
        SELECT org_id, call, 'completed', '+15555550142', true FROM step;
    INSERT INTO calls (id, org_id, vapi_call_id, status) SELECT id, org_id, call, 'completed' FROM step;
    INSERT INTO processed_webhook_events (org_id, event_id, event_type, vapi_call_id, message_time, event, received_at)
        SELECT org_id, concat(type, ':', call, ':', sha256(concat(n, e)::bytea)), type, call, now(),
            jsonb_build_object('kind', kind, 'event_type', type, 'role', 'user', 'text', 'Yes, tomorrow at ten would suit me.',
                'message_time', now(), 'call', jsonb_build_object('id', call, 'type', 'inboundPhoneCall', 'direction', 'inbound',
                    'our_number', '+15555550100', 'customer_number', '+15555550142')), now()
        FROM step, LATERAL (SELECT e, CASE WHEN e < 3 THEN 'status-update' WHEN e = 9 THEN 'end-of-call-report' ELSE 'transcript' END,
            CASE WHEN e < 2 THEN 'call-started' WHEN e = 2 THEN 'call-ended' WHEN e = 9 THEN 'end-of-call-report' ELSE 'transcript' END
            FROM generate_series(0, 9) AS e) AS events (e, type, kind);
    DROP TABLE step;";

/// Rows and bytes that a webhook adds.
const STORAGE: &str = "
    SELECT relname::text, greatest(reltuples, 1)::float8, pg_table_size(oid)::float8, pg_indexes_size(oid)::float8 FROM pg_class
    WHERE relname IN ('processed_webhook_events', 'call_logs', 'call_tracking', 'calls', 'call_transcripts')
        AND relkind = 'r' ORDER BY relname";

/// Counts the pages of the statement, including those of its nested statements.
const EXPLAIN: &str = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ";

/// Fills the site's database, compares it with an empty one, and measures the statements of the console's pages.
pub(super) async fn measure(site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
    let empty = site.on("bench_empty").await?;
    fill(site, if length == Length::Full { CALLS } else { SHORT_CALLS }).await?;
    storage(site, report).await?;
    if pgbench::is_installed(site) {
        compare(&empty, site, length, report).await?;
    }
    reading::measure(site, report).await
}

/// Measures the hot statements on an empty database and on a grown one.
async fn compare(empty: &Site<'_>, site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
    let (rounds, millis) = if length == Length::Full { (7, 2_000) } else { (1, 500) };
    let window = Window { warm_up: Duration::from_secs(1), length: Duration::from_millis(millis) };
    let columns =
        ["event", "empty, p50 ms", "grown, p50 ms", "ratio", "empty, pages", "grown, pages", "PostgreSQL's CPU"];
    let mut table = Table::new("Growth: ten million claims and a million calls, one connection", &columns);
    site.pin(true)?;
    // The first measurement would otherwise include the background work after so many inserts.
    for database in [empty, site] {
        let run = Run { number: FIRST_RUN - 1, clients: 1, repeat: None };
        one(database, Kind::CallStarted, run, window).await?;
    }
    for kind in [Kind::CallStarted, Kind::Transcript, Kind::CallEnded, Kind::Report, Kind::Duplicate] {
        let mut figures = Vec::new();
        for round in 0..rounds {
            let run = |number| Run { number, clients: 1, repeat: (kind == Kind::Duplicate).then_some(100) };
            let run = run(FIRST_RUN + round);
            // The order alternates, because the first of a round may find the server busier.
            figures.push(if round % 2 == 0 {
                let of_empty = one(empty, kind, run, window).await?;
                (of_empty, one(site, kind, run, window).await?)
            } else {
                let of_grown = one(site, kind, run, window).await?;
                (one(empty, kind, run, window).await?, of_grown)
            });
        }
        let ratio = |of: fn(&Figures) -> f64| median(figures.iter().map(|(empty, grown)| of(grown) / of(empty)));
        let latency = ratio(|figures| figures.p50);
        let cells = [
            median(figures.iter().map(|it| it.0.p50)),
            median(figures.iter().map(|it| it.1.p50)),
            latency,
            pages(empty, kind).await?,
            pages(site, kind).await?,
            ratio(|figures| figures.server_cpu),
        ];
        table.row([kind.name().to_owned()].into_iter().chain(cells.map(number)));
        report.goal(
            format!("{}: latency with 10 million claims of that with none", kind.name()),
            latency,
            Limit::AtMost(1.15),
        );
    }
    site.pin(false)?;
    report.add(table);
    Ok(())
}

async fn one(site: &Site<'_>, kind: Kind, run: Run, window: Window) -> Result<Figures> {
    let (answered, usage) = pgbench::run(site, &Events::of(site, kind)?, run, window).await?;
    Ok(answered.figures(usage))
}

/// Inserts the calls and their claims, with every index and constraint in place, and waits for the server's background
/// work.
pub(super) async fn fill(site: &Site<'_>, calls: i64) -> Result<()> {
    let client = site.superuser().await?;
    let began = Instant::now();
    client.batch_execute(TENANTS).await.context("make tenants")?;
    // All referenced rows are inserted here, so foreign keys need not be checked for each row.
    client.batch_execute("SET session_replication_role = replica").await.context("insert calls")?;
    for from in (0..calls).step_by(usize::try_from(STEP).unwrap_or(1)) {
        let to = calls.min(from + STEP);
        let statement = CALLS_OF_STEP
            .replace("{org}", &site.org.to_string())
            .replace("{from}", &from.to_string())
            .replace("{to}", &to.to_string());
        client.batch_execute(&statement).await.context("insert calls")?;
    }
    // One by one: statements that are sent together are one transaction, in which VACUUM cannot run.
    for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
        client.batch_execute(statement).await.context("vacuum the grown database")?;
    }
    progress(&format!("Made {} claims in {:.0} s", calls * 10, began.elapsed().as_secs_f64()));
    Ok(())
}

async fn storage(site: &Site<'_>, report: &mut Report) -> Result<()> {
    let mut table = Table::new("Storage", &["table", "rows", "bytes a row", "its indexes' bytes a row"]);
    let client = site.superuser().await?;
    for row in client.query(STORAGE, &[]).await.context("measure the tables")? {
        let (rows, bytes, of_indexes): (f64, f64, f64) = (row.get(1), row.get(2), row.get(3));
        table.row([row.get(0)].into_iter().chain([rows, bytes / rows, of_indexes / rows].map(number)));
    }
    report.add(table);
    Ok(())
}

/// Number of pages that a statement reads in a warm session.
async fn pages(site: &Site<'_>, kind: Kind) -> Result<f64> {
    let client = site.superuser().await?;
    client.batch_execute("SET ROLE ringfence_app").await.context("explain")?;
    let events = Events::of(site, kind)?;
    let mut pages = Vec::new();
    for index in 0..20 {
        let place = kind.place(FIRST_RUN + 500, 1, index);
        let statement = format!(
            "{EXPLAIN} SELECT * FROM apply_event_v1('{}', 1, '{}', $json${}$json$, now(), NULL)",
            site.org,
            events.key.fill(place),
            events.event.fill(place),
        );
        let row = client.query_one(&statement, &[]).await.context("explain a statement")?;
        let plan: serde_json::Value = row.get(0);
        let count = |name: &str| plan[0]["Plan"][name].as_f64().unwrap_or_default();
        pages.push(count("Shared Hit Blocks") + count("Shared Read Blocks"));
    }
    Ok(median(pages))
}
