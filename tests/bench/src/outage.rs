//! Latency of webhooks while the database is unavailable.

use std::time::{Duration, Instant};

use super::Length;
use super::events::{Events, Kind};
use super::load::is_taken;
use super::site::Site;
use super::table::{Limit, Report, Table, median, number, percentile};
use ringfence_harness::error::{Error, Result};
use ringfence_harness::lambda::{FunctionSpec, Host};
use ringfence_harness::local::environment::{of_aws, of_waiting_work};
use ringfence_harness::local::layout::Layout;
use ringfence_harness::local::ministack::MiniStack;
use ringfence_harness::local::port;
use ringfence_harness::local::queues::{self, Timing};
use ringfence_harness::local::tools::Tools;

const RUN: u64 = 8_600;

/// Posts webhooks to a webhook function whose database port is closed. The queues are MiniStack's.
pub(super) async fn measure(site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
    let count = if length == Length::Full { 200 } else { 5 };
    let endpoint = MiniStack::of_bench(site.layout).start(&Tools::install(site.layout).await?).await?;
    let queues = queues::create(&queues::client(&endpoint), Timing::DEPLOYED).await?;
    let nowhere = format!("postgres://ringfence_app@127.0.0.1:{}/bench", port::free(None)?);
    let mut spec: FunctionSpec = site.function("webhook", 1, &nowhere)?;
    // Later variables take precedence.
    spec.variables.extend(of_waiting_work(&queues).into_iter().chain(of_aws(&endpoint)));
    let host = Host::start(&[spec]).await?;
    let events = Events::of(site, Kind::Transcript)?;
    let mut times = Vec::new();
    for index in 0..count {
        let request = events.request(events.kind.place(RUN, 0, index));
        let posted = Instant::now();
        let answer = host.invoke("webhook", request).await;
        if !answer.as_ref().is_ok_and(|answer| is_taken(answer)) {
            return Err(Error::new(format!("a webhook was not queued: {answer:?}")));
        }
        times.push(ms(posted.elapsed()));
    }
    host.stop().await;
    stop(site.layout).await?;
    let later = || times.iter().skip(1).copied();
    let mut table =
        Table::new("While the database is unavailable", &["webhooks", "first, ms", "later: median, ms", "p99, ms"]);
    let figures = [times.first().copied().unwrap_or_default(), median(later()), percentile(later(), 0.99)];
    table.row([count.to_string()].into_iter().chain(figures.map(number)));
    report.add(table);
    report.goal("database unavailable: median answer after the first, ms", median(later()), Limit::AtMost(50.0));
    Ok(())
}

/// Stops the queues.
pub(super) async fn stop(layout: &Layout) -> Result<()> {
    MiniStack::of_bench(layout).stop().await.map(drop)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
