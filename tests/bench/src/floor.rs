//! `PostgreSQL`'s CPU for an event, compared with the floor: the same rows written by bare upserts, which have no claim
//! to check, no fold and no isolation.
//!
//! The floor's statements are prepared on one connection and sent together (pipeline mode), so they are one round trip
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
/// SOURCE
const REFERENCE: [(Kind, f64, f64); 4] = [
    (Kind::CallStarted, 1.0, 0.40),
    (Kind::CallEnded, 1.0, 0.40),
    (Kind::Report, 1.0, 0.40),
    (Kind::Transcript, 1.0, 0.65),
];
const APPLY: &str = "SELECT outcome FROM apply_event_v1($1, 1, $2, $3, now(), NULL)";

/// Type and value of each column, by table and name.
type Rows = BTreeMap<(&'static str, String), (String, String)>;

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
    let mut figures: BTreeMap<&str, Vec<(Figures, Figures)>> = BTreeMap::new();
    site.pin(true)?;
    for round in 0..rounds {
        for effects in &effects {
            let kind = effects.kind;
            // The calls of all events must have started.
            let factor = if kind == Kind::CallStarted { 2 } else { 1 };
            let window = Window { warm_up: Duration::from_millis(500), length: Duration::from_millis(millis * factor) };
            let run = |number| Run { number, clients: 1, repeat: (kind == Kind::Duplicate).then_some(100) };
            let (ours, floors) = (run(FIRST_RUN + 2 * round), run(FIRST_RUN + 2 * round + 1));
            // The order alternates, because the first of a round may find the server busier.
            let pair = if round % 2 == 0 {
                let event = event(site, kind, ours, window).await?;
                (event, floor(site, effects, floors, window).await?)
            } else {
                let floor = floor(site, effects, floors, window).await?;
                (event(site, kind, ours, window).await?, floor)
            };
            figures.entry(kind.name()).or_default().push(pair);
        }
    }
    site.pin(false)?;
    add(&effects, &figures, report);
    Ok(())
}

fn add(effects: &[Effects], figures: &BTreeMap<&str, Vec<(Figures, Figures)>>, report: &mut Report) {
    let columns = ["event", "statements of the floor", "event, us", "floor, us", "ratio", "event/s of the floor's"];
    let mut table = Table::new("PostgreSQL's CPU for an event, compared with the floor, one connection", &columns);
    for effects in effects {
        let name = effects.kind.name();
        let Some(rounds) = figures.get(name) else { continue };
        let ratio = median(rounds.iter().map(|(event, floor)| event.sessions_cpu / floor.sessions_cpu));
        let cells = [
            median(rounds.iter().map(|it| it.0.sessions_cpu)),
            median(rounds.iter().map(|it| it.1.sessions_cpu)),
            ratio,
            median(rounds.iter().map(|(event, floor)| event.per_second / floor.per_second)),
        ];
        let statements = (1 + effects.tables().count()).to_string();
        table.row([name.to_owned(), statements].into_iter().chain(cells.map(number)));
        report.database_goal(format!("{name}: PostgreSQL's CPU of the floor's"), ratio, Limit::AtMost(2.5));
        if let Some((_, reference, limit)) = REFERENCE.into_iter().find(|(kind, ..)| *kind == effects.kind) {
            let name = format!("{name}: PostgreSQL's CPU of the reference SQL's");
            report.database_goal(name, ratio / reference, Limit::AtMost(limit));
        }
    }
    report.add(table);
}

async fn event(site: &Site<'_>, kind: Kind, run: Run, window: Window) -> Result<Figures> {
    let (answered, usage) = pgbench::run(site, &Events::of(site, kind)?, run, window).await?;
    Ok(answered.figures(usage))
}

async fn floor(site: &Site<'_>, effects: &Effects, run: Run, window: Window) -> Result<Figures> {
    let connections = Connections { url: &site.owner_url, count: 1, are_prepared: true };
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
