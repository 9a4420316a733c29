//! `PostgreSQL`'s CPU for an event, compared with the floor: the same rows written by bare upserts, which have no claim
//! to check, no fold and no isolation.
//!
//! The floor's statements are prepared once per connection and sent together (pipeline mode), so they are one round trip
//! and one transaction, like the webhook function's statement. A superuser sends them, to whom row-level security does
//! not apply. Their values are those of the rows that the event leaves, so the floor also writes the event's own row.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::Client;

use super::Length;
use super::events::{CALL_MARK, CALL_PREFIX, Events, Gap, Kind, Part, Template};
use super::load::{Figures, Run, Window};
use super::pgbench::{self, Connections, Script};
use super::site::Site;
use super::table::{Limit, Report, Table, median, number};
use ringfence_harness::error::{Context, Result};
use ringfence_harness::local::connection;

/// With one connection each event finds its caches as the scheduler leaves them; with many, `PostgreSQL`'s core is busy.
const MANY: u64 = 16;
const FIRST_RUN: u64 = 5_000;
/// Run number of the calls whose rows give the floor its values.
const MODEL_RUN: u64 = FIRST_RUN - 1;
/// In this order: each event finds the rows that those before it leave.
const KINDS: [Kind; 5] = [Kind::CallStarted, Kind::Transcript, Kind::CallEnded, Kind::Report, Kind::Duplicate];
/// Tables that an event changes, besides its own row, with the key of the upsert.
const TABLES: [(&str, &str); 4] = [
    ("call_logs", "org_id, vapi_call_id"),
    ("call_tracking", "org_id, vapi_call_id"),
    ("calls", "org_id, vapi_call_id"),
    ("call_transcripts", "org_id, vapi_call_id, content_sha256"),
];
/// Columns that have a default, that the upsert sets by itself, or that only the fold needs.
const COLUMNS: &str = "
    SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), to_jsonb(r) ->> a.attname
    FROM {table} r, pg_attribute a
    WHERE r.org_id = $1 AND r.vapi_call_id = $2 AND a.attrelid = '{table}'::regclass AND a.attnum > 0
        AND NOT a.attisdropped AND to_jsonb(r) ->> a.attname IS NOT NULL
        AND a.attname <> ALL ('{id,org_id,vapi_call_id,call_log_id,content_sha256,created_at,updated_at}')
        AND a.attname NOT LIKE 'folded%'";
/// The reference SQL's CPU as a multiple of the floor's, and the limit for today's SQL as a share of it. The reference is
/// that of commit a3e9dc8, which folds all events of a call at each event and claims an event with four statements.
/// Measured with this SQL and the floor in one run of five alternating rounds with [`MANY`] connections, on a shared machine
/// with two cores, `PostgreSQL` 15, on 28 November 2026.
const REFERENCE: [(Kind, f64, f64); 4] = [
    (Kind::CallStarted, 3.43, 0.40),
    (Kind::CallEnded, 5.00, 0.40),
    (Kind::Report, 4.29, 0.40),
    (Kind::Transcript, 2.71, 0.65),
];
const APPLY: &str = "SELECT outcome FROM apply_event_v1($1, 1, $2, $3, now(), NULL)";

/// Type and value of each column, by table and name.
type Rows = BTreeMap<(&'static str, String), (String, String)>;

/// Figures of the event and of the floor in each round, by event.
type Figured = BTreeMap<&'static str, Vec<(Figures, Figures)>>;

/// The columns that an event of a kind changes.
struct Effects {
    kind: Kind,
    changed: Rows,
}

/// Measures in alternating rounds.
pub(super) async fn measure(site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
    if !pgbench::is_installed(site) {
        return Ok(());
    }
    let (rounds, millis) = if length == Length::Full { (7, 2_000) } else { (1, 500) };
    let effects = effects(site).await?;
    let columns =
        ["N", "event", "statements of the floor", "event, us", "floor, us", "ratio", "event/s of the floor's"];
    let mut table = Table::new("PostgreSQL's CPU for an event, compared with the floor", &columns);
    site.pin(true)?;
    let mut first = FIRST_RUN;
    for clients in [1, MANY] {
        let mut figures = Figured::new();
        for round in 0..rounds {
            for effects in &effects {
                let numbers = (first + 2 * round, first + 2 * round + 1);
                let pair = pair(site, effects, (clients, numbers), (round % 2 == 0, millis)).await?;
                figures.entry(effects.kind.name()).or_default().push(pair);
            }
        }
        first += 2 * rounds;
        for effects in &effects {
            let Some(rounds) = figures.get(effects.kind.name()) else { continue };
            effects.add(clients, rounds, (&mut table, report));
        }
    }
    site.pin(false)?;
    report.add(table);
    Ok(())
}

/// Measures the event and its floor, with the calls of the two run numbers.
async fn pair(
    site: &Site<'_>,
    effects: &Effects,
    (clients, numbers): (u64, (u64, u64)),
    (is_event_first, millis): (bool, u64),
) -> Result<(Figures, Figures)> {
    let kind = effects.kind;
    // The calls of all events must have started.
    let factor = if kind == Kind::CallStarted { 2 } else { 1 };
    let window = Window { warm_up: Duration::from_millis(500), length: Duration::from_millis(millis * factor) };
    let run = |number| Run { number, clients, repeat: (kind == Kind::Duplicate).then_some(20) };
    let (ours, floors) = (run(numbers.0), run(numbers.1));
    // The order alternates, because the first of a round may find the server busier.
    Ok(if is_event_first {
        let event = event(site, kind, ours, window).await?;
        (event, floor(site, effects, floors, window).await?)
    } else {
        let floor = floor(site, effects, floors, window).await?;
        (event(site, kind, ours, window).await?, floor)
    })
}

async fn event(site: &Site<'_>, kind: Kind, run: Run, window: Window) -> Result<Figures> {
    let (answered, usage) = pgbench::run(site, &Events::of(site, kind)?, run, window).await?;
    Ok(answered.figures(usage))
}

async fn floor(site: &Site<'_>, effects: &Effects, run: Run, window: Window) -> Result<Figures> {
    let connections = Connections { url: &site.owner_url, count: run.clients, are_prepared: true };
    let (answered, usage) = pgbench::run_script(site, &effects.script(site, run)?, connections, window).await?;
    Ok(answered.figures(usage))
}

/// Applies one event of each kind to a call and notes the columns that it changes.
async fn effects(site: &Site<'_>) -> Result<Vec<Effects>> {
    let (app, superuser) = (connection::open(&site.app_url).await?, site.superuser().await?);
    let mut effects = Vec::new();
    let mut before = Rows::new();
    for kind in KINDS {
        let events = Events::of(site, kind)?;
        let place = kind.place(MODEL_RUN, 0, 0);
        let event: serde_json::Value = serde_json::from_str(&events.event.fill(place)).context("read an event")?;
        app.query_one(APPLY, &[site.org.as_uuid(), &events.key.fill(place), &event]).await.context("apply an event")?;
        let after = rows(site, &superuser, &format!("{CALL_PREFIX}{}", place.call)).await?;
        let changed = after.iter().filter(|(column, value)| before.get(column) != Some(value));
        effects
            .push(Effects { kind, changed: changed.map(|(column, value)| (column.clone(), value.clone())).collect() });
        before = after;
    }
    Ok(effects)
}

async fn rows(site: &Site<'_>, superuser: &Client, call: &str) -> Result<Rows> {
    let mut rows = Rows::new();
    for (table, _) in TABLES {
        let columns = superuser.query(&COLUMNS.replace("{table}", table), &[site.org.as_uuid(), &call]).await;
        for row in columns.context("read the rows of a call")? {
            rows.insert((table, row.get(0)), (row.get(1), row.get(2)));
        }
    }
    Ok(rows)
}

impl Effects {
    fn add(&self, clients: u64, rounds: &[(Figures, Figures)], (table, report): (&mut Table, &mut Report)) {
        let name = self.kind.name();
        let ratio = median(rounds.iter().map(|(event, floor)| event.sessions_cpu / floor.sessions_cpu));
        let cells = [
            median(rounds.iter().map(|it| it.0.sessions_cpu)),
            median(rounds.iter().map(|it| it.1.sessions_cpu)),
            ratio,
            median(rounds.iter().map(|(event, floor)| event.per_second / floor.per_second)),
        ];
        let statements = (1 + self.tables().count()).to_string();
        let labels = [clients.to_string(), name.to_owned(), statements];
        table.row(labels.into_iter().chain(cells.map(number)));
        if clients == 1 {
            report.database_goal(format!("{name}: PostgreSQL's CPU of the floor's, N = 1"), ratio, Limit::AtMost(2.5));
        }
        let reference = REFERENCE.into_iter().find(|(kind, ..)| clients == MANY && *kind == self.kind);
        if let Some((_, reference, limit)) = reference {
            let name = format!("{name}: PostgreSQL's CPU of the reference SQL's, N = {MANY}");
            report.database_goal(name, ratio / reference, Limit::AtMost(limit));
        }
    }

    /// Tables that the event changes.
    fn tables(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        TABLES.into_iter().filter(|(table, _)| self.changed.keys().any(|(of, _)| of == table))
    }

    fn script(&self, site: &Site<'_>, run: Run) -> Result<Script> {
        let events = Events::of(site, self.kind)?;
        let mut script = Script::counting(self.kind, run);
        let org = format!("'{}'::uuid", site.org);
        let call = script.expression(&Template::cut(&format!("{CALL_PREFIX}{CALL_MARK}")));
        script.line("\\startpipeline");
        let (key, event) = (script.expression(&events.key), script.expression(&events.event));
        let received = script.variable(&jiff::Timestamp::now().to_string());
        let kind = script.variable(self.kind.name());
        script.line(&format!(
            "INSERT INTO processed_webhook_events (org_id, event_id, event_type, vapi_call_id, message_time, event, received_at)
                VALUES ({org}, {key}, {kind}, {call}, {received}::timestamptz, ({event})::jsonb, {received}::timestamptz)
                ON CONFLICT (org_id, event_id) DO NOTHING;"
        ));
        for (table, key) in self.tables() {
            let upsert = self.upsert(&mut script, table, key, &org, &call);
            script.line(&upsert);
        }
        script.line("\\endpipeline");
        Ok(script)
    }

    fn upsert(&self, script: &mut Script, table: &str, key: &str, org: &str, call: &str) -> String {
        let mut columns = vec![("org_id", org.to_owned()), ("vapi_call_id", call.to_owned())];
        // The call's id as that of its row: the rows of other tables refer to it.
        match table {
            "call_logs" | "calls" => columns.push(("id", format!("({call})::uuid"))),
            "call_transcripts" => {
                let hash = Template(vec![Part::Text("c".repeat(48)), Part::Gap(Gap::Number)]);
                columns.push(("call_log_id", format!("({call})::uuid")));
                columns.push(("content_sha256", format!("decode({}, 'hex')", script.expression(&hash))));
            }
            _ => {}
        }
        let changed = self.changed.iter().filter(|((of, _), _)| of == &table);
        let changed: Vec<_> = changed.map(|((_, name), (kind, value))| (name.as_str(), kind, value)).collect();
        for (name, kind, value) in &changed {
            let text = script.expression(&Template(vec![Part::Text((*value).clone())]));
            columns.push((name, format!("({text})::{kind}")));
        }
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let values: Vec<&str> = columns.iter().map(|(_, value)| value.as_str()).collect();
        let set: Vec<String> = changed.iter().map(|(name, _, _)| format!("{name} = excluded.{name}")).collect();
        format!(
            "INSERT INTO {table} ({}) VALUES ({}) ON CONFLICT ({key}) DO UPDATE SET {};",
            names.join(", "),
            values.join(", "),
            set.join(", ")
        )
    }
}
