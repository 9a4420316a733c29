//! What maintenance costs webhooks, and what numbers cost who looks at them: a million old claims are removed while events come in.

use std::time::{Duration, Instant};

use super::events::{Events, Kind};
use super::growth::fill;
use super::load::{Figures, Run, Window};
use super::site::Site;
use super::table::{Limit, Report, Table, median, number};
use super::{Length, pgbench};
use crate::error::{Context, Result};
use maintenance::rest;

/// Calls, of ten claims each.
const CALLS: i64 = 100_000;
const SHORT_CALLS: i64 = 2_000;
const FIRST_RUN: u64 = 7_000;
/// As `maintenance` orders it.
const PIECE: &str = "SELECT clean_events_v1(1000, true)";
/// What a month of an org with twenty agents and calls of every kind in every hour leaves counted: as much as there can be.
const COUNTED: &str = "
    INSERT INTO agents (org_id, id, name, phone_number) SELECT '{org}', md5('agent-' || n)::uuid, 'Agent ' || n, '+1555555' || (1000 + n)
        FROM generate_series(1, 20) AS n;
    INSERT INTO call_rollups (org_id, agent_id, period, measure, since, is_connected, bucket, calls, total)
        SELECT '{org}', a, 'hour', m, date_trunc('hour', now(), 'UTC') - make_interval(hours => h), c, b::text, 3, 60
        FROM unnest(ARRAY['00000000-0000-0000-0000-000000000000'::uuid] || (SELECT array_agg(id) FROM agents)) AS a,
            generate_series(0, 720) AS h, (VALUES (true), (false)) AS of (c),
            (SELECT 'duration' AS m, b FROM generate_series(0, 40) AS b UNION ALL SELECT 'cost', b FROM generate_series(-20, 10) AS b
             UNION ALL SELECT 'family', b FROM generate_series(1, 8) AS b) AS measured (m, b);
    INSERT INTO call_rollups (org_id, agent_id, period, measure, since, is_connected, bucket, calls, total)
        SELECT org_id, agent_id, 'day', measure, date_trunc('day', since, 'UTC'), is_connected, bucket, sum(calls), sum(total)
        FROM call_rollups GROUP BY 1, 2, 4, 5, 6, 7;
    INSERT INTO event_rollups (org_id, period, measure, since, bucket, events)
        SELECT '{org}', p, m, date_trunc(p, now(), 'UTC') - h * ('1 ' || p)::interval, b::text, 100
        FROM unnest('{hour,day}'::text[]) AS p, generate_series(0, 720) AS h,
            unnest('{delivery_ms,apply_ms,failure}'::text[]) AS m, generate_series(0, 40) AS b;";
const SHOWN: &str = "SELECT show_numbers_v1('{org}', NULL, now() - interval '29 days', now(), 'day')";

/// Removes a million claims beside webhooks, and asks for a month of numbers.
pub(super) async fn measure(site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
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

    if pgbench::is_installed(site) {
        let window = Window { warm_up: Duration::from_millis(500), length: Duration::from_millis(millis) };
        let mut ratios = Vec::new();
        let cleaner = site.superuser().await?;
        cleaner.batch_execute("SET ROLE ringfence_app").await.context("clean")?;
        let (mut removed, mut longest, mut worked) = (0_i64, Duration::ZERO, Duration::ZERO);
        for round in 0..rounds {
            let alone = one(site, FIRST_RUN + 2 * round, window).await?;
            let beside = one(site, FIRST_RUN + 2 * round + 1, window);
            tokio::pin!(beside);
            let beside = loop {
                // As maintenance does: a piece, and a rest.
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
        report.goal("longest statement of the cleaning, s", longest.as_secs_f64(), Limit::AtMost(1.0));
        report.goal("a transcript beside the cleaning, of one alone", median(ratios), Limit::AtMost(1.2));
    }

    client.batch_execute(&COUNTED.replace("{org}", &site.org.to_string())).await.context("count calls")?;
    client.batch_execute("ANALYZE call_rollups, event_rollups").await.context("count calls")?;
    client.batch_execute("SET ROLE ringfence_app").await.context("show numbers")?;
    let statement = SHOWN.replace("{org}", &site.org.to_string());
    let mut shown = Vec::new();
    for _ in 0..10 {
        let began = Instant::now();
        client.query_one(&statement, &[]).await.context("show numbers")?;
        shown.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let shown = median(shown);
    row("a month of numbers, ms", shown);
    report.goal("a month of numbers, ms", shown, Limit::AtMost(100.0));
    report.add(table);
    Ok(())
}

async fn one(site: &Site<'_>, number: u64, window: Window) -> Result<Figures> {
    let run = Run { number, clients: 4, repeat: None };
    let (answered, usage) = pgbench::run(site, &Events::of(site, Kind::Transcript)?, run, window).await?;
    Ok(answered.figures(usage))
}
