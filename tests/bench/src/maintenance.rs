//! Cost of maintenance for webhooks: a million old claims are removed while events arrive.

use std::time::{Duration, Instant};

use super::events::{Events, Kind};
use super::history::fill;
use super::load::{Figures, Run, Window};
use super::site::Site;
use super::table::{Limit, Report, Table, median, number};
use super::{Length, pgbench};
use maintenance::rest;
use ringfence_harness::error::{Context, Result};
use ringfence_harness::local::connection;

/// Calls with ten claims each.
const CALLS: i64 = 100_000;
const SHORT_CALLS: i64 = 2_000;
const FIRST_RUN: u64 = 7_000;
/// Statement of the function `maintenance`.
const PIECE: &str = "SELECT coalesce((SELECT clean_events_v1(o, 1000, true)
    FROM find_orgs_with_work_v1('clean-claims', 1) AS o), 0)";

/// Removes a million claims during webhooks.
pub(super) async fn measure(site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
    if !pgbench::is_installed(site) {
        return Ok(());
    }
    let site = &site.on("bench_maintenance").await?;
    let (calls, rounds, millis) = match length {
        Length::Full => (CALLS, 5, 2_000),
        Length::Short => (SHORT_CALLS, 1, 500),
    };
    fill(site, calls).await?;
    let client = site.superuser().await?;
    let age = "UPDATE processed_webhook_events SET processed_at = now() - interval '40 days'";
    for statement in [age, "VACUUM ANALYZE processed_webhook_events", "CHECKPOINT"] {
        client.batch_execute(statement).await.context("age the claims")?;
    }
    let mut table = Table::new("Maintenance", &["what", "figure"]);
    let mut row = |what: &str, figure: f64| table.row([what.to_owned(), number(figure)]);

    let window = Window { warm_up: Duration::from_millis(500), length: Duration::from_millis(millis) };
    let mut ratios = Vec::new();
    // Connects as the functions' role, with all settings of that role.
    let cleaner = connection::open(&site.app_url).await?;
    let (mut removed, mut longest, mut worked) = (0_i64, Duration::ZERO, Duration::ZERO);
    for round in 0..rounds {
        let alone = one(site, FIRST_RUN + 2 * round, window).await?;
        let beside = one(site, FIRST_RUN + 2 * round + 1, window);
        tokio::pin!(beside);
        let beside = loop {
            // Like `maintenance`: a piece, followed by a pause.
            let piece = async {
                let began = Instant::now();
                let piece = cleaner.query_one(PIECE, &[]).await;
                let took = began.elapsed();
                tokio::time::sleep(rest(took)).await;
                (piece, took)
            };
            tokio::select! {
                figures = &mut beside => break figures?,
                (piece, took) = piece => {
                    removed += i64::from(piece.context("clean")?.get::<_, i32>(0));
                    longest = longest.max(took);
                    worked += took;
                }
            }
        };
        ratios.push(beside.p50 / alone.p50);
    }
    loop {
        let began = Instant::now();
        let piece: i32 = cleaner.query_one(PIECE, &[]).await.context("clean")?.get(0);
        longest = longest.max(began.elapsed());
        worked += began.elapsed();
        removed += i64::from(piece);
        if piece == 0 {
            break;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let per_second = removed as f64 / worked.as_secs_f64();
    row("claims removed in a second", per_second);
    row("longest statement, ms", longest.as_secs_f64() * 1000.0);
    report.database_goal("longest statement of the cleaning, s", longest.as_secs_f64(), Limit::AtMost(1.0));
    report.database_goal("a transcript beside the cleaning, of one alone", median(ratios), Limit::AtMost(1.2));
    report.add(table);
    Ok(())
}

async fn one(site: &Site<'_>, number: u64, window: Window) -> Result<Figures> {
    let run = Run { number, clients: 4, repeat: None };
    let (answered, usage) = pgbench::run(site, &Events::of(site, Kind::Transcript)?, run, window).await?;
    Ok(answered.figures(usage))
}
