//! `PostgreSQL`'s own benchmark with the webhook function's statement: the lower bound of the statement's cost.
//!
//! pgbench cannot generate texts, so the statement concatenates the event from fixed pieces and counters, all of which
//! are parameters.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::events::{CUSTOMERS_OF_A_CLIENT, Events, FIRST_CUSTOMER, FIRST_NUMBER, Gap, Kind, Part, Template};
use super::load::{Answered, Run, Usage, Window};
use super::site::Site;
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::process_usage as process;
use ringfence_harness::wait::wait_until;

/// Limit for the length of an argument: a program's argument is at most 128 KiB.
const MAX_PIECE: usize = 100_000;
/// Timeout of opening pgbench's sessions. If it fails, its own error is reported.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A script for pgbench, and the texts that it refers to.
pub(super) struct Script {
    text: String,
    variables: Vec<(String, String)>,
}

/// Connections of pgbench.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connections<'a> {
    pub(super) url: &'a str,
    pub(super) count: u64,
    /// Whether statements are prepared once per connection. If not, the server parses and plans them each time.
    pub(super) are_prepared: bool,
}

/// Whether pgbench is installed in the folder of the server.
pub(super) fn is_installed(site: &Site<'_>) -> bool {
    site.bin.join("pgbench").is_file()
}

/// Runs the webhook function's statement for a kind of events, as the function sends it. The window begins after the
/// warm-up.
pub(super) async fn run(site: &Site<'_>, events: &Events, run: Run, window: Window) -> Result<(Answered, Usage)> {
    let mut script = Script::counting(events.kind, run);
    script.apply(&format!("'{}'", site.org), events);
    run_script(site, &script, Connections { url: &site.app_url, count: run.clients, are_prepared: false }, window).await
}

/// Runs a script. Each execution of the whole script is one answer.
pub(super) async fn run_script(
    site: &Site<'_>,
    script: &Script,
    connections: Connections<'_>,
    window: Window,
) -> Result<(Answered, Usage)> {
    let folder = tempfolder(site)?;
    let (file, log) = (folder.join("script.sql"), folder.join("log"));
    fs::write(&file, &script.text).context("write pgbench's script")?;
    // Two seconds more, so that the sessions outlive the window.
    let seconds = (window.warm_up + window.length).as_secs_f64().ceil() + 2.0;
    let mut pgbench = Command::new(site.bin.join("pgbench"));
    pgbench.args(["--no-vacuum", "--jobs=1", "--log", "--protocol"]);
    pgbench.arg(if connections.are_prepared { "prepared" } else { "extended" });
    pgbench.args([format!("--client={}", connections.count), format!("--time={seconds}")]);
    pgbench.arg(format!("--log-prefix={}", log.display())).arg("--file").arg(&file);
    for (name, value) in &script.variables {
        pgbench.arg("--define").arg(format!("{name}={value}"));
    }
    pgbench.arg(connections.url).env("PGSSLMODE", "disable").env("PGOPTIONS", "");
    pgbench.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let known = process::cpu_of_sessions(site.server);
    let running = pgbench.spawn().context("run pgbench")?;
    let measured = async {
        // pgbench's time begins when all of its sessions are open.
        let are_open = async || {
            let sessions = process::cpu_of_sessions(site.server);
            let new = sessions.keys().filter(|pid| !known.contains_key(pid)).count();
            Ok(u64::try_from(new).is_ok_and(|new| new >= connections.count))
        };
        wait_until(CONNECT_TIMEOUT, are_open).await?;
        Ok::<_, Error>(Usage::measure(site, &[], window).await)
    };
    let (output, usage) = tokio::join!(running.wait_with_output(), measured);
    let output = output.context("run pgbench")?;
    if !output.status.success() {
        return Err(Error::new(format!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok((read_log(&folder)?, usage?))
}

/// An empty folder for one run.
fn tempfolder(site: &Site<'_>) -> Result<PathBuf> {
    let folder = site.layout.path("bench-pgbench");
    ringfence_harness::local::layout::remove(&folder)?;
    fs::create_dir_all(&folder).context("make a folder for pgbench")?;
    Ok(folder)
}

/// Parses pgbench's log. A line has client, transaction, latency in us, script, and the end in s and us.
fn read_log(folder: &std::path::Path) -> Result<Answered> {
    let mut answered = Answered::default();
    for entry in fs::read_dir(folder).context("read pgbench's log")?.flatten() {
        if !entry.file_name().to_string_lossy().starts_with("log") {
            continue;
        }
        let text = fs::read_to_string(entry.path()).context("read pgbench's log")?;
        for line in text.lines() {
            let fields: Vec<u64> = line.split(' ').filter_map(|field| field.parse().ok()).collect();
            let [_, _, latency, _, seconds, micros, ..] = fields[..] else { continue };
            let at = Duration::from_secs(seconds) + Duration::from_micros(micros);
            answered.add(at, Duration::from_micros(latency));
        }
    }
    Ok(answered)
}

impl Script {
    /// A script that counts the events of a run as the clients of a load do ([`Kind::place`]). It has the variables
    /// `call`, `number` and `customer`.
    pub(super) fn counting(kind: Kind, run: Run) -> Self {
        let next = run.repeat.map_or_else(|| ":i + 1".to_owned(), |count| format!("(:i + 1) % {count}"));
        let first = kind.first_call(run.number);
        let (of_a_call, stride) =
            (kind.of_a_call(), Kind::CallStarted.place(0, 1, 0).call - Kind::CallStarted.place(0, 0, 0).call);
        let mut script = Self { text: String::new(), variables: vec![("i".to_owned(), "-1".to_owned())] };
        script.set("i", &next);
        script.set("own", &format!(":i / {of_a_call}"));
        script.set("call", &format!("{first} + :client_id * {stride} + :own"));
        script.set("number", &format!("{FIRST_NUMBER} + :i"));
        script.set(
            "customer",
            &format!("{FIRST_CUSTOMER} + :client_id * {CUSTOMERS_OF_A_CLIENT} + :own % {CUSTOMERS_OF_A_CLIENT}"),
        );
        script
    }

    /// Computes a variable for each execution.
    pub(super) fn set(&mut self, name: &str, expression: &str) {
        self.line(&format!("\\set {name} {expression}"));
    }

    /// Adds a statement or a command of pgbench.
    pub(super) fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// Adds the webhook function's statement for an event. `org` is an SQL expression.
    pub(super) fn apply(&mut self, org: &str, events: &Events) {
        let (key, event) = (self.expression(&events.key), self.expression(&events.event));
        let (version, received) = (self.variable("1"), self.variable(&jiff::Timestamp::now().to_string()));
        let parameters = format!("({org})::uuid, {version}::integer, {key}, ({event})::jsonb, {received}::timestamptz");
        self.line(&format!("SELECT * FROM apply_event_v1({parameters}, NULL);"));
    }

    /// SQL expression for a template's text.
    pub(super) fn expression(&mut self, template: &Template) -> String {
        let mut terms = Vec::new();
        for part in &template.0 {
            match part {
                Part::Gap(Gap::Call) => terms.push(":call::text".to_owned()),
                Part::Gap(Gap::Number) => terms.push(":number::text".to_owned()),
                Part::Gap(Gap::Customer) => terms.push(":customer::text".to_owned()),
                Part::Gap(Gap::Now) => terms.push("clock_timestamp()::text".to_owned()),
                Part::Text(text) => terms.extend(pieces(text).into_iter().map(|piece| self.variable(piece) + "::text")),
            }
        }
        terms.join(" || ")
    }

    /// A parameter with this text.
    pub(super) fn variable(&mut self, text: &str) -> String {
        let name = format!("v{}", self.variables.len());
        let term = format!(":{name}");
        self.variables.push((name, text.to_owned()));
        term
    }
}

/// Splits a text into pieces that are short enough for an argument.
fn pieces(mut text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let (piece, rest) = text.split_at(text.floor_char_boundary(MAX_PIECE));
        pieces.push(piece);
        text = rest;
    }
    pieces
}
