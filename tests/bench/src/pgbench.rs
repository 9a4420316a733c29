//! `PostgreSQL`'s own benchmark with the webhook function's statement: the lower bound of the statement's cost.
//!
//! pgbench cannot generate texts, so the statement concatenates the event from fixed pieces and counters, all of which
//! are parameters.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::events::{CUSTOMERS_OF_A_CLIENT, Events, FIRST_CUSTOMER, FIRST_NUMBER, Gap, Kind, Part, Template};
use super::load::{Answered, Run, Usage, Window};
use super::site::Site;
use ringfence_harness::error::{Context, Error, Result};

/// Limit for the length of an argument: a program's argument is at most 128 KiB.
const MAX_PIECE: usize = 100_000;

/// A script for pgbench, and the texts that it refers to.
struct Script {
    text: String,
    variables: Vec<(String, String)>,
}

/// Whether pgbench is installed in the folder of the server.
pub(super) fn is_installed(site: &Site<'_>) -> bool {
    site.bin.join("pgbench").is_file()
}

/// Runs the statement of a kind of events. The window begins after the warm-up.
pub(super) async fn run(site: &Site<'_>, events: &Events, run: Run, window: Window) -> Result<(Answered, Usage)> {
    run_script(site, &script(site, events, run), run.clients, window).await
}

async fn run_script(site: &Site<'_>, script: &Script, clients: u64, window: Window) -> Result<(Answered, Usage)> {
    let folder = tempfolder(site)?;
    let (file, log) = (folder.join("script.sql"), folder.join("log"));
    fs::write(&file, &script.text).context("write pgbench's script")?;
    let seconds = (window.warm_up + window.length).as_secs_f64().ceil();
    let mut pgbench = Command::new(site.bin.join("pgbench"));
    pgbench.args(["--no-vacuum", "--protocol=extended", "--jobs=1", "--log"]);
    pgbench.args([format!("--client={clients}"), format!("--time={seconds}")]);
    pgbench.arg(format!("--log-prefix={}", log.display())).arg("--file").arg(&file);
    for (name, value) in &script.variables {
        pgbench.arg("--define").arg(format!("{name}={value}"));
    }
    pgbench.arg(&site.app_url).env("PGSSLMODE", "disable").env("PGOPTIONS", "");
    pgbench.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let running = pgbench.spawn().context("run pgbench")?;
    let (output, usage) = tokio::join!(running.wait_with_output(), Usage::measure(site, None, window));
    let output = output.context("run pgbench")?;
    if !output.status.success() {
        return Err(Error::new(format!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr))));
    }
    let answered = read_log(&folder)?;
    Ok((answered, usage))
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

fn script(site: &Site<'_>, events: &Events, run: Run) -> Script {
    let kind = events.kind;
    let mut script = Script { text: String::new(), variables: Vec::new() };
    for (name, value) in [
        ("i", "-1".to_owned()),
        ("org", site.org.to_string()),
        ("version", "1".to_owned()),
        ("received", jiff::Timestamp::now().to_string()),
    ] {
        script.variables.push((name.to_owned(), value));
    }
    let next = run.repeat.map_or_else(|| ":i + 1".to_owned(), |count| format!("(:i + 1) % {count}"));
    let first = kind.first_call(run.number);
    let (of_a_call, stride) =
        (kind.of_a_call(), Kind::CallStarted.place(0, 1, 0).call - Kind::CallStarted.place(0, 0, 0).call);
    let lines = [
        format!("\\set i {next}"),
        format!("\\set own :i / {of_a_call}"),
        format!("\\set call {first} + :client_id * {stride} + :own"),
        format!("\\set number {FIRST_NUMBER} + :i"),
        format!(
            "\\set customer {FIRST_CUSTOMER} + :client_id * {CUSTOMERS_OF_A_CLIENT} + :own % {CUSTOMERS_OF_A_CLIENT}"
        ),
    ];
    let key = script.expression("k", &events.key);
    let event = script.expression("e", &events.event);
    script.text = lines.join("\n");
    // Infallible, because it writes to a `String`.
    let _ = writeln!(
        script.text,
        "\nSELECT * FROM apply_event_v1(:org, :version, {key}, ({event})::jsonb, :received, NULL);"
    );
    script
}

impl Script {
    /// SQL expression for a template's text.
    fn expression(&mut self, prefix: &str, template: &Template) -> String {
        let mut terms = Vec::new();
        for part in &template.0 {
            match part {
                Part::Gap(Gap::Call) => terms.push(":call".to_owned()),
                Part::Gap(Gap::Number) => terms.push(":number".to_owned()),
                Part::Gap(Gap::Customer) => terms.push(":customer".to_owned()),
                Part::Text(text) => terms.extend(pieces(text).into_iter().map(|piece| self.name(prefix, piece))),
            }
        }
        let terms: Vec<String> = terms.into_iter().map(|term| term + "::text").collect();
        terms.join(" || ")
    }

    fn name(&mut self, prefix: &str, text: &str) -> String {
        let name = format!("{prefix}{}", self.variables.len());
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
