//! Webhooks through the webhook function, as fast as they are answered, and their resource usage.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::events::Events;
use super::site::{LOAD_CORE, SERVER_CORE, Site};
use super::table::percentile;
use ringfence_harness::error::{Error, Result};
use ringfence_harness::lambda::Host;
use ringfence_harness::process_usage as process;

/// A run of the load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Number of the run. Each run has its own calls.
    pub(super) number: u64,
    /// Number of concurrent clients. Each sends one event after another.
    pub(super) clients: u64,
    /// Each client repeats this number of events, if set.
    pub(super) repeat: Option<u64>,
}

/// Part of a run that is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) warm_up: Duration,
    pub(super) length: Duration,
}

/// Time at which each event was answered, and its latency.
#[derive(Debug, Default)]
pub(super) struct Answered(Vec<(Duration, Duration)>);

/// CPU time in the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    from: Duration,
    to: Duration,
    server: Duration,
    /// None if no session of the load was open at the end of the window.
    sessions: Option<Duration>,
    functions: Duration,
    load: Duration,
    /// Busy share of the server's and the load's core, 0 to 1. It has no meaning if all cores are shared.
    cores: [f64; 2],
}

/// Result of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) per_second: f64,
    /// In milliseconds.
    pub(super) p50: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    /// In microseconds per event.
    pub(super) server_cpu: f64,
    /// Part of `server_cpu` that the sessions use, without the background processes. NaN if it was not measured.
    pub(super) sessions_cpu: f64,
    pub(super) functions_cpu: f64,
    /// CPU time of the clients and of the Lambda host, which run elsewhere in AWS.
    pub(super) load_cpu: f64,
    /// Busy share of the server's and the load's core, in per cent.
    pub(super) server_core: f64,
    pub(super) load_core: f64,
}

impl Answered {
    pub(super) fn add(&mut self, at: Duration, latency: Duration) {
        self.0.push((at, latency));
    }

    /// Number of all answered events.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Figures of the window.
    pub(super) fn figures(&self, usage: Usage) -> Figures {
        let inside = self.0.iter().filter(|(at, _)| (usage.from..usage.to).contains(at));
        let latencies: Vec<f64> = inside.map(|(_, latency)| latency.as_secs_f64() * 1_000.0).collect();
        #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52")]
        let count = latencies.len() as f64;
        let share = |share| percentile(latencies.iter().copied(), share);
        let each = |time: Duration| time.as_secs_f64() * 1_000_000.0 / count;
        Figures {
            per_second: count / usage.to.saturating_sub(usage.from).as_secs_f64(),
            p50: share(0.5),
            p95: share(0.95),
            p99: share(0.99),
            server_cpu: each(usage.server),
            sessions_cpu: usage.sessions.map_or(f64::NAN, each),
            functions_cpu: each(usage.functions),
            load_cpu: each(usage.load),
            server_core: usage.cores[0] * 100.0,
            load_core: usage.cores[1] * 100.0,
        }
    }
}

impl Usage {
    /// Waits for the window and measures from its beginning to its end. `handlers` are the processes that receive the
    /// webhooks.
    pub(super) async fn measure(site: &Site<'_>, handlers: &[u32], window: Window) -> Self {
        let used = || {
            let functions: Duration = handlers.iter().copied().map(process::cpu).sum();
            [process::cpu_of_server(site.server), functions, process::cpu(std::process::id())]
        };
        let cores = || [SERVER_CORE, LOAD_CORE].map(process::core);
        tokio::time::sleep(window.warm_up).await;
        let sessions_before = process::cpu_of_sessions(site.server);
        let (from, before, cores_before) = (since_epoch(), used(), cores());
        tokio::time::sleep(window.length).await;
        let (to, after, cores_after) = (since_epoch(), used(), cores());
        let [server, functions, load] = [0, 1, 2].map(|index| after[index].saturating_sub(before[index]));
        // Session by session: one that ends in the window, such as of the run before, is left out.
        let live = process::cpu_of_sessions(site.server);
        let used =
            |(pid, cpu): (&u32, &Duration)| cpu.saturating_sub(sessions_before.get(pid).copied().unwrap_or_default());
        let sessions = Some(live.iter().map(used).sum()).filter(|sum: &Duration| !sum.is_zero());
        let cores = [0, 1].map(|core| busy(cores_before[core], cores_after[core]));
        Self { from, to, server, sessions, functions, load, cores }
    }
}

/// Busy share of the time between two readings of a core.
#[expect(clippy::cast_precision_loss, reason = "no machine has run for 2^52 ticks")]
fn busy(before: [u64; 2], after: [u64; 2]) -> f64 {
    let [busy, idle] = [0, 1].map(|index| after[index].saturating_sub(before[index]) as f64);
    busy / (busy + idle).max(1.0)
}

/// Posts the events of a kind until the window ends.
pub(super) async fn run(
    site: &Site<'_>,
    host: &Host,
    events: &Events,
    run: Run,
    window: Window,
) -> Result<(Answered, Usage)> {
    let answered = Mutex::new(Answered::default());
    let end = since_epoch() + window.warm_up + window.length;
    let clients = (0..run.clients).map(|client| post(host, events, (run, client), end, &answered));
    let pids = host.pids("webhook");
    let (posted, usage) =
        tokio::join!(futures_util::future::try_join_all(clients), Usage::measure(site, &pids, window));
    posted?;
    let answered = answered.into_inner().map_err(|_| Error::new("a client of the load panicked"))?;
    Ok((answered, usage))
}

/// Sends the events of one client.
async fn post(
    host: &Host,
    events: &Events,
    (run, client): (Run, u64),
    end: Duration,
    answered: &Mutex<Answered>,
) -> Result<()> {
    for index in 0.. {
        let index = run.repeat.map_or(index, |count| index % count);
        let request = events.request(events.kind.place(run.number, client, index));
        let posted = since_epoch();
        let answer = host.invoke("webhook", request).await;
        let at = since_epoch();
        if !answer.as_ref().is_ok_and(|answer| is_taken(answer)) {
            return Err(Error::new(format!("a webhook was not acknowledged: {answer:?}")));
        }
        if let Ok(mut answered) = answered.lock() {
            answered.add(at, at.saturating_sub(posted));
        }
        if at > end {
            break;
        }
    }
    Ok(())
}

/// Whether the webhook function answered 200.
pub(super) fn is_taken(answer: &[u8]) -> bool {
    const TAKEN: &[u8] = br#""statusCode":200"#;
    answer.windows(TAKEN.len()).any(|window| window == TAKEN)
}

/// Time since the epoch, as in pgbench's log.
pub(super) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
