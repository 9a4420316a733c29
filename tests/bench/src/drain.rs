//! Rate at which a function drains its retry queue: full batches, one after another, compared with pgbench on as many
//! connections.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use ringfence_protocol::Credential;
use serde_json::{Value, json};

use super::events::{Events, Kind};
use super::load::{Answered, Run, Usage, Window, since_epoch};
use super::site::Site;
use super::table::{Limit, Report, Table, median, number};
use super::{Length, pgbench};
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::lambda::Host;

const FUNCTION: &str = "transcript";
/// As in the template's event source mapping.
const BATCH: u64 = 10;
const BATCHES_AT_A_TIME: u64 = 2;
const FIRST_RUN: u64 = 7_000;

/// Measures in alternating rounds.
pub(super) async fn measure(site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
    if !pgbench::is_installed(site) {
        return Ok(());
    }
    let (rounds, millis) = if length == Length::Full { (5, 2_000) } else { (1, 500) };
    let window = Window { warm_up: Duration::from_secs(1), length: Duration::from_millis(millis) };
    let events = Events::of(site, Kind::Transcript)?;
    site.pin(true)?;
    let environments = usize::try_from(BATCHES_AT_A_TIME).unwrap_or(1);
    let host = Host::start(&[site.loaded(FUNCTION, environments)?]).await?;
    let mut figures = Vec::new();
    for round in 0..rounds {
        let run = |number| Run { number: FIRST_RUN + number, clients: BATCHES_AT_A_TIME, repeat: None };
        let drained = drain(site, &host, &events, run(2 * round), window).await?;
        let statements = pgbench::run(site, &events, run(2 * round + 1), window).await?;
        figures.push((drained.0.figures(drained.1).per_second, statements.0.figures(statements.1).per_second));
    }
    host.stop().await;
    site.pin(false)?;
    let ratio = median(figures.iter().map(|(drained, statements)| drained / statements));
    let columns = ["function", "events/s", "pgbench/s", "ratio"];
    let mut table = Table::new("Drain of a retry queue: two batches of ten at a time", &columns);
    let (drained, statements) = (median(figures.iter().map(|it| it.0)), median(figures.iter().map(|it| it.1)));
    table.row([FUNCTION.to_owned()].into_iter().chain([drained, statements, ratio].map(number)));
    report.add(table);
    report.goal("drain: events/s of pgbench's", ratio, Limit::AtLeast(0.8));
    Ok(())
}

async fn drain(site: &Site<'_>, host: &Host, events: &Events, run: Run, window: Window) -> Result<(Answered, Usage)> {
    let end = since_epoch() + window.warm_up + window.length;
    let clients = (0..run.clients).map(|client| drain_for(site, host, events, (run.number, client), end));
    let pids = host.pids(FUNCTION);
    let (answered, usage) =
        tokio::join!(futures_util::future::try_join_all(clients), Usage::measure(site, &pids, window));
    let mut all = Answered::default();
    for (at, latency) in answered?.into_iter().flatten() {
        all.add(at, latency);
    }
    Ok((all, usage))
}

/// Invokes the function with one batch after another. All events of a batch are counted at its answer.
async fn drain_for(
    site: &Site<'_>,
    host: &Host,
    events: &Events,
    (run, client): (u64, u64),
    end: Duration,
) -> Result<Vec<(Duration, Duration)>> {
    let mut answered = Vec::new();
    let mut first = client * 1_000_000;
    while since_epoch() < end {
        let batch = batch(site, events, run, first..first + BATCH)?;
        let handed = since_epoch();
        let answer = host.invoke(FUNCTION, batch).await;
        if !answer.as_ref().is_ok_and(|answer| answer == r#"{"batchItemFailures":[]}"#) {
            return Err(Error::new(format!("a batch was not drained: {answer:?}")));
        }
        let at = since_epoch();
        answered.extend((0..BATCH).map(|_| (at, at.saturating_sub(handed))));
        first += BATCH;
    }
    Ok(answered)
}

/// A batch as SQS passes it to a function: events that the webhook function has put into the queue.
pub(super) fn batch(site: &Site<'_>, events: &Events, run: u64, indices: Range<u64>) -> Result<Bytes> {
    let record = |index: u64| {
        let place = events.kind.place(run, 0, index);
        let event: Value = serde_json::from_str(&events.event.fill(place)).context("read an event")?;
        let credential = Credential::Org { org_id: site.org, key_version: 1 };
        let delivery = json!({
            "credential": credential, "key": events.key.fill(place), "event": event, "received_at": Timestamp::now(),
        });
        let body = json!({"v": "1", "delivery": delivery}).to_string();
        Ok(json!({
            "messageId": uuid::Uuid::new_v4(), "receiptHandle": "bench", "body": body, "eventSource": "aws:sqs",
            "attributes": {"ApproximateReceiveCount": "1"}, "messageAttributes": {}, "md5OfBody": "",
            "eventSourceARN": "arn:aws:sqs:eu-central-1:000000000000:bench", "awsRegion": "eu-central-1",
        }))
    };
    let records: Vec<Value> = indices.map(record).collect::<Result<_>>()?;
    Ok(json!({"Records": records}).to_string().into())
}
