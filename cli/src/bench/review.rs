//! A9: what the review of the old server claimed of its indexes, constraints and functions, measured on the grown database.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::Length;
use super::site::Site;
use super::table::{Report, Table, median, number};
use crate::error::{Context, Result};
use crate::local::connection;

/// The named indexes, their tables, and a question that each answers.
const INDEXES: [(&str, &str, &str); 3] = [
    (
        "idx_processed_events_org_event",
        "processed_webhook_events",
        "org_id = $1 AND event_id = (SELECT event_id FROM sample)",
    ),
    ("idx_call_logs_org_vapi_call_id", "call_logs", "org_id = $1 AND vapi_call_id = (SELECT vapi_call_id FROM sample)"),
    (
        "idx_call_tracking_org_vapi_call_id",
        "call_tracking",
        "org_id = $1 AND vapi_call_id = (SELECT vapi_call_id FROM sample)",
    ),
];
const CONSTRAINED: [&str; 4] = ["call_logs", "call_tracking", "calls", "recording_upload_queue"];

/// Measures all three claims.
pub(super) async fn measure(site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
    let client = site.superuser().await?;
    lookups(site, &client, length, report).await?;
    constraints(site, &client, length, report).await?;
    functions(site, &client, length, report).await
}

/// Lookups with each index, and without it: dropped in a transaction that is taken back.
async fn lookups(site: &Site<'_>, client: &Client, length: Length, report: &mut Report) -> Result<()> {
    let (with, without) = if length == Length::Full { (200, 3) } else { (5, 1) };
    let columns = ["index", "rows", "with, ms", "without, ms", "times", "MB per million rows"];
    let mut table = Table::new("A9: lookups with and without the named indexes", &columns);
    for (index, relation, condition) in INDEXES {
        let size_of_index = format!(
            "SELECT c.reltuples::float8, pg_relation_size(i.oid)::float8 FROM pg_class c, pg_class i
             WHERE c.relname = '{relation}' AND i.relname = '{index}'"
        );
        client.batch_execute(&format!("ANALYZE {relation}")).await.context("analyse a table")?;
        let row = client.query_one(&size_of_index, &[]).await.context("measure an index")?;
        let (rows, bytes): (f64, f64) = (row.get(0), row.get(1));
        let found = look_up(site, client, relation, condition, with).await?;
        client.batch_execute(&format!("BEGIN; DROP INDEX {index}")).await.context("drop an index")?;
        let searched = look_up(site, client, relation, condition, without).await;
        client.batch_execute("ROLLBACK").await.context("take an index back")?;
        let searched = searched?;
        let figures = [rows, found, searched, searched / found, bytes / rows.max(1.0)];
        table.row([index.to_owned()].into_iter().chain(figures.map(number)));
    }
    report.add(table);
    Ok(())
}

/// The median time of a question, in ms.
async fn look_up(site: &Site<'_>, client: &Client, relation: &str, condition: &str, count: usize) -> Result<f64> {
    // Somewhere in the middle of the table, and not where a search would begin.
    let question = format!(
        "WITH sample AS MATERIALIZED (SELECT * FROM {relation} TABLESAMPLE SYSTEM (0.1) WHERE org_id = $1 LIMIT 1)
         SELECT count(*) FROM {relation} WHERE {condition}"
    );
    let statement = client.prepare(&question).await.context("prepare a lookup")?;
    let mut times = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        client.query_one(&statement, &[site.org.as_uuid()]).await.context("look up")?;
        times.push(ms(began.elapsed()));
    }
    Ok(median(times))
}

/// Inserts with the constraints and without them, in transactions that are taken back.
async fn constraints(site: &Site<'_>, client: &Client, length: Length, report: &mut Report) -> Result<()> {
    let (rounds, rows) = if length == Length::Full { (9, 20_000) } else { (1, 100) };
    let mut table = Table::new(
        "A9: inserts with and without org_id_not_null",
        &["table", "with, us a row", "without, us a row", "ratio"],
    );
    for relation in CONSTRAINED {
        let insert = format!(
            "INSERT INTO {relation} (org_id, vapi_call_id) SELECT '{}', 'review-' || n FROM generate_series(1, {rows}) AS n",
            site.org
        );
        let drop = format!("ALTER TABLE {relation} DROP CONSTRAINT {relation}_org_id_not_null");
        let mut times = Vec::new();
        for _ in 0..rounds {
            let with = taken_back(client, "SELECT 1", &insert).await?;
            times.push((with, taken_back(client, &drop, &insert).await?));
        }
        let each = |time: f64| time * 1_000.0 / f64::from(rows);
        let figures = [
            each(median(times.iter().map(|it| it.0))),
            each(median(times.iter().map(|it| it.1))),
            median(times.iter().map(|(with, without)| with / without)),
        ];
        table.row([relation.to_owned()].into_iter().chain(figures.map(number)));
    }
    report.add(table);
    Ok(())
}

async fn taken_back(client: &Client, before: &str, statement: &str) -> Result<f64> {
    // Foreign keys cost the same with and without, and many times more than what is measured.
    let open = format!("BEGIN; SET LOCAL session_replication_role = replica; {before}");
    client.batch_execute(&open).await.context("prepare an insert")?;
    let began = Instant::now();
    let inserted = client.batch_execute(statement).await;
    let time = ms(began.elapsed());
    client.batch_execute("ROLLBACK").await.context("take an insert back")?;
    inserted.context("insert").map(|()| time)
}

/// One function against the statements that do the same, each a round trip of its own.
async fn functions(site: &Site<'_>, superuser: &Client, length: Length, report: &mut Report) -> Result<()> {
    let count: u32 = if length == Length::Full { 500 } else { 5 };
    let app = connection::open(&site.app_url).await?;
    let org = site.org.to_string();
    let make = format!(
        "DO $$ BEGIN PERFORM enter_org('{org}'); FOR n IN 1 .. {} LOOP
             PERFORM create_inbound_call_atomically('{org}', 'function-' || n, NULL, '+15555550142', NULL, NULL); END LOOP; END $$",
        2 * count
    );
    superuser.batch_execute(&make).await.context("make calls")?;
    let (mut one, mut several) = (Vec::new(), Vec::new());
    for index in 0..count {
        let began = Instant::now();
        let function =
            format!("SELECT * FROM update_call_completed_atomically('{org}', 'function-{}', 42, NULL)", 2 * index + 1);
        app.query_one(&function, &[]).await.context("complete a call")?;
        one.push(ms(began.elapsed()));
        several.push(separately(&app, &org, &format!("function-{}", 2 * index + 2)).await?);
    }
    let mut table =
        Table::new("A9: one function against separate statements, over loopback", &["", "round trips", "median, ms"]);
    table.row(["update_call_completed_atomically".to_owned(), "1".to_owned(), number(median(one))]);
    table.row(["the same as separate statements".to_owned(), "7".to_owned(), number(median(several))]);
    report.add(table);
    Ok(())
}

async fn separately(app: &Client, org: &str, call: &str) -> Result<f64> {
    let began = Instant::now();
    let of_call = format!("WHERE org_id = '{org}' AND vapi_call_id = '{call}'");
    for statement in [
        "BEGIN".to_owned(),
        format!("SELECT enter_org('{org}')"),
        format!("SELECT id FROM call_logs {of_call} FOR NO KEY UPDATE"),
        format!(
            "UPDATE call_logs SET status = 'completed', ended_at = now(), duration_seconds = 42, updated_at = now() {of_call}"
        ),
        format!(
            "UPDATE call_tracking SET status = 'completed', ended_at = now(), duration_seconds = 42, updated_at = now() {of_call}"
        ),
        format!("UPDATE calls SET status = 'completed', duration_seconds = 42, updated_at = now() {of_call}"),
        "COMMIT".to_owned(),
    ] {
        app.batch_execute(&statement).await.context("complete a call statement by statement")?;
    }
    Ok(ms(began.elapsed()))
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
