//! Dead rows and the growth of indexes under a load of whole calls, with the storage settings of the tables (fill
//! factor, thresholds of autovacuum) and, in a second database, with the server's defaults. The two take turns.

use std::time::Duration;

use tokio_postgres::Client;

use super::events::{Events, Kind, TRANSCRIPTS_OF_A_CALL};
use super::load::{Figures, Run, Window};
use super::pgbench::{self, Connections, Script};
use super::site::Site;
use super::table::{Limit, Report, Table, median, number};
use super::{Length, Options};
use ringfence_harness::error::{Context, Result};
use ringfence_harness::local::progress;

const DEFAULT_LENGTH: Duration = Duration::from_hours(1);
const SHORT_LENGTH: Duration = Duration::from_secs(6);
/// Turns of each database.
const TURNS: u32 = 10;
const SHORT_TURNS: u32 = 2;
const CONNECTIONS: u64 = 4;
const FIRST_RUN: u64 = 1_000;
/// Status updates, transcripts and a report.
#[expect(clippy::cast_precision_loss, reason = "there are ten")]
const EVENTS_OF_A_CALL: f64 = 4.0 + TRANSCRIPTS_OF_A_CALL as f64;
/// Removes the storage settings of all tables.
const RESET: &str = "
    DO $$
    DECLARE
        v record;
    BEGIN
        FOR v IN SELECT oid::regclass AS name, ARRAY(SELECT split_part(o, '=', 1) FROM unnest(reloptions) AS o) AS options
            FROM pg_class WHERE relkind = 'r' AND reloptions IS NOT NULL AND relnamespace = 'public'::regnamespace
        LOOP
            EXECUTE format('ALTER TABLE %s RESET (%s)', v.name, array_to_string(v.options, ', '));
        END LOOP;
    END
    $$";
const SIZES: &str = "
    SELECT relname::text, n_live_tup::float8, n_dead_tup::float8, n_tup_upd::float8, n_tup_hot_upd::float8,
        autovacuum_count::float8, pg_table_size(relid)::float8, pg_indexes_size(relid)::float8
    FROM pg_stat_user_tables
    WHERE relname IN ('processed_webhook_events', 'call_logs', 'call_tracking', 'calls', 'call_transcripts', 'leads')
    ORDER BY relname";

/// Statistics of a table at the end of a turn.
#[derive(Clone, Debug)]
struct Sizes {
    table: String,
    live: f64,
    dead: f64,
    updates: f64,
    /// Updates that changed no index.
    hot_updates: f64,
    vacuums: f64,
    bytes: f64,
    index_bytes: f64,
}

/// A database and its turns.
struct Side<'a> {
    settings: &'static str,
    site: Site<'a>,
    figures: Vec<Figures>,
    /// Of each turn, by table.
    sizes: Vec<Vec<Sizes>>,
}

/// Runs whole calls on both databases.
pub(super) async fn measure(site: &Site<'_>, options: &Options, report: &mut Report) -> Result<()> {
    if !pgbench::is_installed(site) {
        return Ok(());
    }
    let (length, turns) = match options.length {
        Length::Full => (options.churn.unwrap_or(DEFAULT_LENGTH), TURNS),
        Length::Short => (SHORT_LENGTH, SHORT_TURNS),
    };
    let window = Window { warm_up: Duration::ZERO, length: length / (2 * turns) };
    let mut sides = [
        Side::new("of the tables", site.on("bench_churn").await?),
        Side::new("the server's defaults", site.on("bench_churn_defaults").await?),
    ];
    sides[1].site.superuser().await?.batch_execute(RESET).await.context("reset the tables' settings")?;
    site.pin(true)?;
    for turn in 0..turns {
        progress(&format!("Churn: turn {} of {turns}", turn + 1));
        for side in &mut sides {
            side.take_turn(FIRST_RUN + u64::from(turn), window).await?;
        }
    }
    site.pin(false)?;
    add_speeds(&sides, length, report);
    add_sizes(&sides, report);
    if options.length == Length::Full {
        goals(&sides[0], report);
    }
    Ok(())
}

impl<'a> Side<'a> {
    fn new(settings: &'static str, site: Site<'a>) -> Self {
        Self { settings, site, figures: Vec::new(), sizes: Vec::new() }
    }

    async fn take_turn(&mut self, run: u64, window: Window) -> Result<()> {
        let run = Run { number: run, clients: CONNECTIONS, repeat: None };
        let script = whole_call(&self.site, run)?;
        let connections = Connections { url: &self.site.app_url, count: CONNECTIONS, are_prepared: false };
        let (answered, usage) = pgbench::run_script(&self.site, &script, connections, window).await?;
        self.figures.push(answered.figures(usage));
        self.sizes.push(sizes(&self.site.superuser().await?).await?);
        Ok(())
    }

    /// Median of the CPU for an event in the first and in the last third of the turns.
    fn cpu(&self) -> [f64; 2] {
        let third = self.figures.len().div_ceil(3);
        let of = |figures: &[Figures]| median(figures.iter().map(|it| it.sessions_cpu / EVENTS_OF_A_CALL));
        [of(&self.figures[..third]), of(&self.figures[self.figures.len() - third..])]
    }

    /// Sizes of each table after the first turn and after the last one, and its highest share of dead rows.
    fn tables(&self) -> Vec<(&Sizes, &Sizes, f64)> {
        let (Some(first), Some(last)) = (self.sizes.first(), self.sizes.last()) else { return Vec::new() };
        let dead = |index: usize| self.sizes.iter().map(move |it| it[index].dead / (it[index].dead + it[index].live));
        let pairs = first.iter().zip(last).enumerate();
        pairs.map(|(index, (first, last))| (first, last, dead(index).fold(0.0, f64::max))).collect()
    }
}

/// Two status updates, ten transcripts, the end and the report of a call, each a transaction.
fn whole_call(site: &Site<'_>, run: Run) -> Result<Script> {
    let mut script = Script::counting(Kind::CallStarted, run);
    let [started, transcript, ended, reported] =
        [Kind::CallStarted, Kind::Transcript, Kind::CallEnded, Kind::Report].map(|kind| Events::of(site, kind));
    let (started, transcript) = (started?.distinct(), transcript?);
    let transcripts = std::iter::repeat_n(transcript, usize::try_from(TRANSCRIPTS_OF_A_CALL).unwrap_or(1));
    let events = [started.clone(), started].into_iter().chain(transcripts);
    for event in events.chain([ended?.distinct(), reported?.distinct()]) {
        script.set("number", ":number + 1");
        script.apply(&format!("'{}'", site.org), &event);
    }
    Ok(script)
}

async fn sizes(client: &Client) -> Result<Vec<Sizes>> {
    let rows = client.query(SIZES, &[]).await.context("read the tables' statistics")?;
    let sizes = |row: &tokio_postgres::Row| Sizes {
        table: row.get(0),
        live: row.get(1),
        dead: row.get(2),
        updates: row.get(3),
        hot_updates: row.get(4),
        vacuums: row.get(5),
        bytes: row.get(6),
        index_bytes: row.get(7),
    };
    Ok(rows.iter().map(sizes).collect())
}

fn add_speeds(sides: &[Side<'_>], length: Duration, report: &mut Report) {
    let columns = ["settings", "calls/s", "CPU us an event, first third", "last third", "ratio"];
    let title = format!("Churn: whole calls for {} minutes in turn, {CONNECTIONS} connections", length.as_secs() / 60);
    let mut table = Table::new(title, &columns);
    for side in sides {
        let [first, last] = side.cpu();
        let speed = median(side.figures.iter().map(|it| it.per_second));
        table.row([side.settings.to_owned()].into_iter().chain([speed, first, last, last / first].map(number)));
    }
    report.add(table);
}

fn add_sizes(sides: &[Side<'_>], report: &mut Report) {
    let columns = [
        "table",
        "settings",
        "rows",
        "dead rows at most, %",
        "HOT updates, %",
        "autovacuums",
        "bytes a row, first turn",
        "last turn",
        "index bytes a row, first turn",
        "last turn ",
    ];
    let mut table = Table::new("Churn: dead rows and sizes", &columns);
    for side in sides {
        for (first, last, dead) in side.tables() {
            let cells = [
                last.live,
                dead * 100.0,
                100.0 * last.hot_updates / last.updates.max(1.0),
                last.vacuums,
                first.bytes / first.live,
                last.bytes / last.live,
                first.index_bytes / first.live,
                last.index_bytes / last.live,
            ];
            table.row([last.table.clone(), side.settings.to_owned()].into_iter().chain(cells.map(number)));
        }
    }
    report.add(table);
}

fn goals(side: &Side<'_>, report: &mut Report) {
    let [first, last] = side.cpu();
    report.database_goal("churn: PostgreSQL's CPU, last third of the first", last / first, Limit::AtMost(1.15));
    let growth =
        |(first, last, _): (&Sizes, &Sizes, f64)| (last.index_bytes / last.live) / (first.index_bytes / first.live);
    let worst = side.tables().into_iter().map(growth).fold(0.0, f64::max);
    report.database_goal("churn: index bytes a row, last turn of the first", worst, Limit::AtMost(1.15));
}
