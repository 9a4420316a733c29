//! Webhooks per second of the webhook function and of a plain Node handler, its peer, for the end of a call.
//!
//! The peer (`tests/bench/peer/server.mjs`) runs six statements one after another, in a database of its own with narrow
//! tables: no transaction, no idempotency key that decides, no isolation of tenants. Both get the same bodies, with the
//! same number in flight; `PostgreSQL` has one core and all other processes have the other.

use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::StatusCode;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::events::{CALL_PREFIX, Events, Kind};
use super::load::{self, Answered, Figures, Run, Usage, Window, since_epoch};
use super::site::Site;
use super::table::{Limit, Report, Table, median, number};
use super::{Length, pgbench};
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::lambda::Host;
use ringfence_harness::local::command::on_path;
use ringfence_harness::local::{connection, npm, progress};

const DATABASE: &str = "bench_peer";
const IN_FLIGHT: u64 = 16;
const FIRST_RUN: u64 = 4_000;
/// Calls of each client in a round, which have started before it.
const CALLS: u64 = 2_000;
const TABLES: &str = "
    CREATE TABLE agents (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, vapi_assistant_id text NOT NULL UNIQUE);
    CREATE TABLE calls (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, vapi_call_id text NOT NULL UNIQUE,
        status text NOT NULL, started_at timestamptz NOT NULL, duration_seconds integer, updated_at timestamptz);
    CREATE TABLE call_logs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, vapi_call_id text NOT NULL UNIQUE,
        status text NOT NULL, agent_id bigint, ended_at timestamptz, duration_seconds integer, ended_reason text,
        updated_at timestamptz);
    CREATE TABLE call_tracking (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, vapi_call_id text NOT NULL UNIQUE,
        status text NOT NULL, agent_id bigint, phone_number text);
    CREATE TABLE processed_events (event_id text PRIMARY KEY, event_type text NOT NULL,
        processed_at timestamptz NOT NULL DEFAULT now());
    INSERT INTO agents (vapi_assistant_id) VALUES ('4dac6abb-472a-4a1d-8f6c-c2ed74e2cf44');";
/// Calls of a round, which have started.
const STARTED: &str = "
    CREATE TEMPORARY TABLE step AS SELECT '{prefix}' || ({first}::bigint + client * {stride}::bigint + call) AS id
        FROM generate_series(0, {clients} - 1) AS client, generate_series(0, {calls} - 1) AS call;
    INSERT INTO calls (vapi_call_id, status, started_at) SELECT id, 'in-progress', now() FROM step;
    INSERT INTO call_logs (vapi_call_id, status, agent_id) SELECT id, 'in-progress', 1 FROM step;
    INSERT INTO call_tracking (vapi_call_id, status, agent_id) SELECT id, 'in-progress', 1 FROM step;
    DROP TABLE step;";

/// The running handler.
struct Peer {
    process: Child,
    url: String,
    /// URL of the superuser for its database.
    database_url: String,
}

/// Measures in alternating rounds.
pub(super) async fn measure(site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
    let (Some(node), Some(_)) = (on_path("node"), on_path("npm")) else {
        progress("Node and npm are not on PATH: the comparison with a Node handler is omitted");
        return Ok(());
    };
    if !pgbench::is_installed(site) {
        return Ok(());
    }
    let packages = npm::install(site.layout, "tests/bench/peer", "bench-peer").await?;
    let (rounds, millis) = if length == Length::Full { (7, 2_000) } else { (1, 500) };
    let window = Window { warm_up: Duration::from_secs(1), length: Duration::from_millis(millis) };
    let events = Events::of(site, Kind::CallEnded)?;
    site.pin(true)?;
    let peer = Peer::start(site, &node, &packages).await?;
    let host = Host::start(&[site.loaded("webhook", usize::try_from(IN_FLIGHT).unwrap_or(1))?]).await?;
    let mut figures = Vec::new();
    for round in 0..rounds {
        let run = Run { number: FIRST_RUN + round, clients: IN_FLIGHT, repeat: None };
        let started = Window { warm_up: window.warm_up, length: window.length * 2 };
        pgbench::run(site, &Events::of(site, Kind::CallStarted)?, run, started).await?;
        peer.start_calls(run).await?;
        let ours = load::run(site, &host, &events, run, window);
        let peers = peer.load(site, &events, run, window);
        // The order alternates, because the first of a round may find the server warmer or colder.
        let (ours, peers) = if round % 2 == 0 {
            let ours = ours.await?;
            (ours, peers.await?)
        } else {
            let peers = peers.await?;
            (ours.await?, peers)
        };
        figures.push((ours.0.figures(ours.1), peers.0.figures(peers.1)));
    }
    host.stop().await;
    peer.stop().await;
    site.pin(false)?;
    add(&figures, report);
    Ok(())
}

fn add(figures: &[(Figures, Figures)], report: &mut Report) {
    let columns =
        ["handler", "webhooks/s", "p50 ms", "p99 ms", "PostgreSQL us", "handler us", "server core %", "load core %"];
    let mut table = Table::new(format!("End of a call: webhook function and Node handler, N = {IN_FLIGHT}"), &columns);
    let mut row = |name: &str, of: fn(&(Figures, Figures)) -> &Figures| {
        let figure = |figure: fn(&Figures) -> f64| median(figures.iter().map(|pair| figure(of(pair))));
        let cells = [
            figure(|it| it.per_second),
            figure(|it| it.p50),
            figure(|it| it.p99),
            figure(|it| it.server_cpu),
            figure(|it| it.functions_cpu),
            figure(|it| it.server_core),
            figure(|it| it.load_core),
        ];
        table.row([name.to_owned()].into_iter().chain(cells.map(number)));
    };
    row("webhook function", |pair| &pair.0);
    row("Node handler", |pair| &pair.1);
    report.add(table);
    let ratio = median(figures.iter().map(|(ours, peers)| ours.per_second / peers.per_second));
    report.goal(format!("call-ended: webhooks/s of the Node handler's, N = {IN_FLIGHT}"), ratio, Limit::AtLeast(3.0));
}

impl Peer {
    async fn start(site: &Site<'_>, node: &Path, packages: &Path) -> Result<Self> {
        let database_url = site.empty_database(DATABASE).await?;
        let client = connection::open(&database_url).await?;
        client.batch_execute(TABLES).await.context("make the Node handler's tables")?;
        let mut command = Command::new(node);
        command.arg(site.layout.root().join("tests/bench/peer/server.mjs")).env("NODE_ENV", "production");
        command.env("PEER_PACKAGES", packages).env("PEER_SECRET", &site.key);
        command.env("PEER_DATABASE_URL", &database_url).env("PEER_CONNECTIONS", IN_FLIGHT.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("start the Node handler")?;
        let output = process.stdout.take().ok_or_else(|| Error::new("the Node handler has no output"))?;
        let port = BufReader::new(output).lines().next_line().await.context("read the Node handler's port")?;
        let port = port.ok_or_else(|| Error::new("the Node handler has ended"))?;
        Ok(Self { process, url: format!("http://127.0.0.1:{port}/vapi/{}", site.org), database_url })
    }

    async fn stop(mut self) {
        // It holds no data, and is killed on drop too.
        let _ = self.process.kill().await;
    }

    /// Inserts the calls that the events of a run end.
    async fn start_calls(&self, run: Run) -> Result<()> {
        let (first, second) =
            (Kind::CallEnded.place(run.number, 0, 0).call, Kind::CallEnded.place(run.number, 1, 0).call);
        let statement = STARTED
            .replace("{prefix}", CALL_PREFIX)
            .replace("{first}", &first.to_string())
            .replace("{stride}", &(second - first).to_string())
            .replace("{clients}", &run.clients.to_string())
            .replace("{calls}", &CALLS.to_string());
        let client = connection::open(&self.database_url).await?;
        client.batch_execute(&statement).await.context("start the Node handler's calls")?;
        client.batch_execute("VACUUM ANALYZE").await.context("analyse the Node handler's tables")
    }

    async fn load(&self, site: &Site<'_>, events: &Events, run: Run, window: Window) -> Result<(Answered, Usage)> {
        let client = reqwest::Client::builder().no_proxy().build().context("make a client")?;
        let answered = Mutex::new(Answered::default());
        let end = since_epoch() + window.warm_up + window.length;
        let clients = (0..run.clients).map(|of| self.post(site, &client, events, (run, of), (end, &answered)));
        let pids: Vec<u32> = self.process.id().into_iter().collect();
        let (posted, usage) =
            tokio::join!(futures_util::future::try_join_all(clients), Usage::measure(site, &pids, window));
        posted?;
        let answered = answered.into_inner().map_err(|_| Error::new("a client of the load panicked"))?;
        Ok((answered, usage))
    }

    /// Sends the events of one client.
    async fn post(
        &self,
        site: &Site<'_>,
        client: &reqwest::Client,
        events: &Events,
        (run, of): (Run, u64),
        (end, answered): (Duration, &Mutex<Answered>),
    ) -> Result<()> {
        for index in 0..CALLS {
            let body = events.body.fill(events.kind.place(run.number, of, index));
            let request = client.post(&self.url).header("content-type", "application/json");
            let posted = since_epoch();
            let answer = request.header("x-vapi-secret", &site.key).body(body).send().await;
            let answer = answer.context("post to the Node handler")?;
            if answer.status() != StatusCode::OK {
                return Err(Error::new(format!("the Node handler answered {}", answer.status())));
            }
            // The connection is free again once the body is read.
            answer.bytes().await.context("read the Node handler's answer")?;
            let at = since_epoch();
            if let Ok(mut answered) = answered.lock() {
                answered.add(at, at.saturating_sub(posted));
            }
            if at > end {
                return Ok(());
            }
        }
        Err(Error::new("the Node handler has ended all calls before the end of the round"))
    }
}
