//! Delay from a webhook to a hundred viewers, through the webhook function, the broadcast queue, its function, and the
//! fake of API Gateway's connections.

use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use jiff::Timestamp;

use super::events::{Events, Kind};
use super::load::is_taken;
use super::site::Site;
use super::table::{Report, Table, median, number, percentile};
use super::{Length, outage};
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::lambda::{FunctionSpec, Host};
use ringfence_harness::local::environment::{of_aws, of_waiting_work};
use ringfence_harness::local::ministack::MiniStack;
use ringfence_harness::local::queues::{self, BROADCASTS, Queues, Timing};
use ringfence_harness::local::tools::Tools;
use ringfence_harness::local::{gateway, port, pump};
use ringfence_harness::viewer::Viewer;

const RUN: u64 = 8_700;
const TIMEOUT: Duration = Duration::from_secs(30);

/// Number of viewers, and number of webhooks that they receive.
struct Plan {
    viewers: usize,
    webhooks: u64,
}

/// Posts webhooks one after another, each after all viewers have received the frame of the previous one.
pub(super) async fn measure(site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
    let plan = match length {
        Length::Full => Plan { viewers: 100, webhooks: 50 },
        Length::Short => Plan { viewers: 12, webhooks: 2 },
    };
    let endpoint = MiniStack::of_bench(site.layout).start(&Tools::install(site.layout).await?).await?;
    let sqs = queues::client(&endpoint);
    let queues = queues::create(&sqs, Timing::DEPLOYED).await?;
    let port = port::free(None)?;
    let host = Host::start(&specs(site, &endpoint, &queues, port)?).await?;
    let _gateway = gateway::serve(port, &host.base_url()).await?;
    let base_url = host.base_url();
    let pump = tokio::spawn(async move { pump::run(&sqs, &queues, &base_url).await });
    let times = watch(site, &host, &gateway::live_url(port), &plan).await;
    pump.abort();
    host.stop().await;
    outage::stop(site.layout).await?;

    let times = times?;
    let mut table = Table::new(
        "From a webhook to its frame on each screen",
        &["viewers", "webhooks", "median, ms", "p95, ms", "p99, ms"],
    );
    let figures = [0.95, 0.99].map(|share| percentile(times.iter().copied(), share));
    let figures = [median(times.iter().copied()), figures[0], figures[1]];
    table.row([plan.viewers.to_string(), plan.webhooks.to_string()].into_iter().chain(figures.map(number)));
    report.add(table);
    Ok(())
}

fn specs(site: &Site<'_>, endpoint: &str, queues: &Queues, port: u16) -> Result<Vec<FunctionSpec>> {
    [("webhook", 1), ("live", 4), (BROADCASTS, 2)]
        .into_iter()
        .map(|(name, environments)| {
            let mut spec = site.function(name, environments, &site.app_url)?;
            // Later variables take precedence.
            spec.variables.extend(of_waiting_work(queues).into_iter().chain(of_aws(endpoint)));
            spec.variables.push(("CONNECTIONS_ENDPOINT".to_owned(), gateway::connections_endpoint(port)));
            Ok(spec)
        })
        .collect()
}

/// Milliseconds from each webhook's arrival to each viewer's frame.
async fn watch(site: &Site<'_>, host: &Host, url: &str, plan: &Plan) -> Result<Vec<f64>> {
    let tokens = site.secrets.master_keys()?.live_tokens();
    let (token, _) =
        tokens.mint(site.org, "bench", Duration::from_mins(30), Timestamp::now()).context("make a token")?;
    let mut viewers = try_join_all((0..plan.viewers).map(|_| Viewer::connect(url, &token))).await?;
    for viewer in &mut viewers {
        viewer.resume().await?;
    }
    let events = Events::of(site, Kind::Transcript)?;
    let mut times = Vec::new();
    for index in 0..plan.webhooks {
        let request = events.request(events.kind.place(RUN, 0, index));
        let posted = Instant::now();
        let seen = viewers
            .iter_mut()
            .map(async |viewer| viewer.next(TIMEOUT).await.map(|_| posted.elapsed().as_secs_f64() * 1_000.0));
        let (answer, seen) = tokio::join!(host.invoke("webhook", request), join_all(seen));
        if !answer.as_ref().is_ok_and(|answer| is_taken(answer)) {
            return Err(Error::new(format!("a webhook was not acknowledged: {answer:?}")));
        }
        times.extend(seen.into_iter().collect::<Result<Vec<_>>>()?);
    }
    Ok(times)
}
