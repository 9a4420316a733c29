//! Webhooks per second compared with pgbench's transactions per second, in alternating rounds.

use std::time::Duration;
use strum::IntoEnumIterator as _;

use super::events::{Events, Kind, TRANSCRIPTS_OF_A_CALL};
use super::load::{Figures, Run, Window};
use super::site::Site;
use super::table::{Limit, Report, Table, median, number};
use super::{Length, Options, load, pgbench};
use ringfence_harness::error::Result;
use ringfence_harness::lambda::Host;
use ringfence_harness::local::progress;
use ringfence_harness::process_usage as process;

const COLUMNS: [&str; 17] = [
    "N",
    "event",
    "webhooks/s",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "pgbench/s",
    "p50 ms ",
    "p99 ms ",
    "ratio",
    "PostgreSQL us",
    "pgbench us",
    "webhook us",
    "load us",
    "server core %",
    "load core %",
    "pgbench: server core %",
];
const MANY: u64 = 16;

/// Scope of the measurement.
struct Plan {
    clients: Vec<u64>,
    rounds: usize,
    window: Window,
}

/// Rounds of one kind: figures of the webhooks and of pgbench.
#[derive(Default)]
struct Rounds(Vec<(Figures, Figures)>);

impl Plan {
    fn of(options: &Options) -> Self {
        let window =
            |warm_up, length| Window { warm_up: Duration::from_millis(warm_up), length: Duration::from_millis(length) };
        let (clients, rounds, window) = match options.length {
            Length::Full => (vec![1, 4, MANY], 5, window(1_000, 2_000)),
            Length::Short => (vec![2], 1, window(500, 500)),
        };
        let clients = if options.clients.is_empty() { clients } else { options.clients.clone() };
        Self { clients, rounds: options.rounds.unwrap_or(rounds), window }
    }
}

/// Measures each kind of event with each number of clients, and the memory of the webhook functions.
pub(super) async fn measure(site: &Site<'_>, options: &Options, report: &mut Report) -> Result<()> {
    if !pgbench::is_installed(site) {
        progress("pgbench is not installed with PostgreSQL: the comparison is omitted");
        return Ok(());
    }
    let plan = Plan::of(options);
    let events: Vec<Events> = Kind::iter().map(|kind| Events::of(site, kind)).collect::<Result<_>>()?;
    let mut table = Table::new("Throughput, PostgreSQL and load on a core each", &COLUMNS);
    let mut run = 0;
    site.pin(true)?;
    for &clients in &plan.clients {
        progress(&format!("Throughput with {clients} environments"));
        let host = Host::start(&[site.loaded("webhook", usize::try_from(clients).unwrap_or(1))?]).await?;
        let rounds = rounds(site, &host, (&events, &plan), clients, &mut run).await?;
        add_rows(&mut table, clients, &rounds);
        if clients == 1 {
            webhook_goal(report, &rounds);
        }
        if clients == MANY {
            goals(report, &rounds);
        }
        let peaks = host.pids("webhook").into_iter().filter_map(process::peak_memory);
        memory(report, clients, peaks.max().unwrap_or_default());
        host.stop().await;
    }
    report.add(table);
    site.pin(false)?;
    shared(site, (&events[..2], &plan), &mut run, report).await
}

/// Measures on shared cores, for the start of calls and transcripts only.
async fn shared(site: &Site<'_>, what: (&[Events], &Plan), run: &mut u64, report: &mut Report) -> Result<()> {
    let clients = what.1.clients.last().copied().unwrap_or(1);
    progress("Throughput on shared cores");
    let host = Host::start(&[site.loaded("webhook", usize::try_from(clients).unwrap_or(1))?]).await?;
    let rounds = rounds(site, &host, what, clients, run).await?;
    host.stop().await;
    let mut table = Table::new("Throughput on shared cores", &COLUMNS);
    add_rows(&mut table, clients, &rounds);
    report.add(table);
    Ok(())
}

/// Alternates webhooks and pgbench for each kind, so that other activity on the machine affects both.
async fn rounds(
    site: &Site<'_>,
    host: &Host,
    (events, plan): (&[Events], &Plan),
    clients: u64,
    number: &mut u64,
) -> Result<Vec<(Kind, Rounds)>> {
    let mut all: Vec<(Kind, Rounds)> = events.iter().map(|events| (events.kind, Rounds::default())).collect();
    for round in 0..plan.rounds {
        let (of_webhooks, of_pgbench) = (*number, *number + 1);
        *number += 2;
        let mut transcripts = (u64::MAX, u64::MAX);
        for (events, (_, rounds)) in events.iter().zip(&mut all) {
            let repeat = |count: u64| (events.kind == Kind::Duplicate).then_some(count);
            let webhooks = Run { number: of_webhooks, clients, repeat: repeat(transcripts.0) };
            let statements = Run { number: of_pgbench, clients, repeat: repeat(transcripts.1) };
            let webhooks = load::run(site, host, events, webhooks, plan.window);
            let statements = pgbench::run(site, events, statements, plan.window);
            // The order alternates, because the first of a round may find the server warmer or colder.
            let (webhooks, statements) = if round % 2 == 0 {
                let webhooks = webhooks.await?;
                (webhooks, statements.await?)
            } else {
                let statements = statements.await?;
                (webhooks.await?, statements)
            };
            if events.kind == Kind::Transcript {
                transcripts = (applied_by_each(&webhooks.0, clients), applied_by_each(&statements.0, clients));
            }
            rounds.0.push((webhooks.0.figures(webhooks.1), statements.0.figures(statements.1)));
        }
    }
    Ok(all)
}

/// Lower bound of the events that each client has sent. The clients take turns, so their counts are similar.
fn applied_by_each(answered: &load::Answered, clients: u64) -> u64 {
    (answered.count() as u64 / clients / 2).max(TRANSCRIPTS_OF_A_CALL)
}

impl Rounds {
    fn webhooks(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        median(self.0.iter().map(|(webhooks, _)| figure(webhooks)))
    }

    fn pgbench(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        median(self.0.iter().map(|(_, pgbench)| figure(pgbench)))
    }

    /// Median of the rounds' ratios, not the ratio of medians, because the two figures of a round were measured close
    /// together.
    fn ratio(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        median(self.0.iter().map(|(webhooks, pgbench)| figure(webhooks) / figure(pgbench)))
    }
}

fn add_rows(table: &mut Table, clients: u64, rounds: &[(Kind, Rounds)]) {
    for (kind, rounds) in rounds {
        let figures = [
            rounds.webhooks(|figures| figures.per_second),
            rounds.webhooks(|figures| figures.p50),
            rounds.webhooks(|figures| figures.p95),
            rounds.webhooks(|figures| figures.p99),
            rounds.pgbench(|figures| figures.per_second),
            rounds.pgbench(|figures| figures.p50),
            rounds.pgbench(|figures| figures.p99),
            rounds.ratio(|figures| figures.per_second),
            rounds.webhooks(|figures| figures.server_cpu),
            rounds.pgbench(|figures| figures.server_cpu),
            rounds.webhooks(|figures| figures.functions_cpu),
            rounds.webhooks(|figures| figures.load_cpu),
            rounds.webhooks(|figures| figures.server_core),
            rounds.webhooks(|figures| figures.load_core),
            rounds.pgbench(|figures| figures.server_core),
        ];
        table.row([clients.to_string(), kind.name().to_owned()].into_iter().chain(figures.map(number)));
    }
}

fn goals(report: &mut Report, rounds: &[(Kind, Rounds)]) {
    for (kind, rounds) in rounds {
        let name = kind.name();
        let ratio = rounds.ratio(|figures| figures.per_second);
        report.goal(format!("{name}: throughput of pgbench's, N = {MANY}"), ratio, Limit::AtLeast(0.95));
        let cpu = rounds.ratio(|figures| figures.server_cpu);
        report.goal(format!("{name}: PostgreSQL's CPU of pgbench's, N = {MANY}"), cpu, Limit::AtMost(1.1));
    }
}

/// Uses one environment: in Lambda an environment has its own processor, while the environments of a benchmark share
/// one core and evict each other's caches.
fn webhook_goal(report: &mut Report, rounds: &[(Kind, Rounds)]) {
    for (_, rounds) in rounds.iter().filter(|(kind, _)| *kind == Kind::Transcript) {
        let webhook = rounds.webhooks(|figures| figures.functions_cpu);
        report.goal("transcript: the webhook's CPU, N = 1, us", webhook, Limit::AtMost(200.0));
    }
}

#[expect(clippy::cast_precision_loss, reason = "no process has 2^52 bytes")]
fn memory(report: &mut Report, clients: u64, peak: u64) {
    let megabytes = peak as f64 / 1e6;
    report.goal(format!("webhook's peak memory after all loads, N = {clients}, MB"), megabytes, Limit::AtMost(30.0));
}
