//! Effect of ten million claims and a million calls on the hot statements: the same load on a small database and on a
//! grown one, in alternating rounds.

use std::time::Duration;

use super::events::{Events, Kind};
use super::load::{Figures, Run, Window};
use super::site::Site;
use super::table::{Limit, Report, Table, median, number};
use super::{Length, history, pgbench, reading};
use ringfence_harness::error::{Context, Result};

/// Calls of the grown database. Each has ten claims. Nine of ten calls belong to the org of the load.
const CALLS: i64 = 1_000_000;
const SHORT_CALLS: i64 = 1_000;
const FIRST_RUN: u64 = 6_000;

/// Rows and bytes that a webhook adds.
const STORAGE: &str = "
    SELECT relname::text, greatest(reltuples, 1)::float8, pg_table_size(oid)::float8, pg_indexes_size(oid)::float8 FROM pg_class
    WHERE relname IN ('processed_webhook_events', 'call_logs', 'call_tracking', 'calls', 'call_transcripts')
        AND relkind = 'r' ORDER BY relname";

/// Counts the pages of the statement, including those of its nested statements.
const EXPLAIN: &str = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ";

/// Fills the site's database, compares it with a small one, and measures the statements of the console's pages.
pub(super) async fn measure(site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
    let small = site.on("bench_small").await?;
    history::fill(site, if length == Length::Full { CALLS } else { SHORT_CALLS }).await?;
    storage(site, report).await?;
    if pgbench::is_installed(site) {
        compare(&small, site, length, report).await?;
    }
    reading::measure(site, report).await
}

/// Measures the hot statements on a small database and on a grown one.
async fn compare(small: &Site<'_>, site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
    let (rounds, millis) = if length == Length::Full { (7, 2_000) } else { (1, 500) };
    let window = Window { warm_up: Duration::from_secs(1), length: Duration::from_millis(millis) };
    let columns =
        ["event", "small, p50 ms", "grown, p50 ms", "ratio", "small, pages", "grown, pages", "PostgreSQL's CPU"];
    let mut table = Table::new("Growth: ten million claims and a million calls, one connection", &columns);
    site.pin(true)?;
    // The first measurement would otherwise include the background work after so many inserts.
    for database in [small, site] {
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
                let of_small = one(small, kind, run, window).await?;
                (of_small, one(site, kind, run, window).await?)
            } else {
                let of_grown = one(site, kind, run, window).await?;
                (one(small, kind, run, window).await?, of_grown)
            });
        }
        let ratio = |of: fn(&Figures) -> f64| median(figures.iter().map(|(small, grown)| of(grown) / of(small)));
        let latency = ratio(|figures| figures.p50);
        let cells = [
            median(figures.iter().map(|it| it.0.p50)),
            median(figures.iter().map(|it| it.1.p50)),
            latency,
            pages(small, kind).await?,
            pages(site, kind).await?,
            ratio(|figures| figures.server_cpu),
        ];
        table.row([kind.name().to_owned()].into_iter().chain(cells.map(number)));
        report.database_goal(
            format!("{}: latency with 10 million claims of that with few", kind.name()),
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
