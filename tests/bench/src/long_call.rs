//! `PostgreSQL`'s CPU for the n-th event of one call: whether the cost of an event grows with the events before it.
//!
//! One connection applies the events of several calls in turn. The CPU is that of its server process, so the commit
//! does not wait for the disk (`synchronous_commit = off`).

use std::ops::RangeInclusive;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio_postgres::Client;

use super::Length;
use super::events::{Events, Kind};
use super::site::Site;
use super::table::{Limit, Report, Table, number};
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::local::{connection, progress};
use ringfence_harness::process_usage as process;

const RUN: u64 = 3_000;
const APPLY: &str = "SELECT outcome FROM apply_event_v1($1, 1, $2, $3, $4, NULL)";
/// The figure at n is the mean of the events around n, of all calls.
const AT: [RangeInclusive<u64>; 3] = [8..=12, 95..=105, 980..=1_000];

/// An order of events.
#[derive(Clone, Copy)]
struct Sequence {
    name: &'static str,
    kind: Kind,
    /// Whether each event is newer than those before it.
    is_in_order: bool,
    calls: u64,
    /// Whether the cost of an event must not depend on the number of events before it.
    is_flat: bool,
}

const SEQUENCES: [Sequence; 5] = [
    Sequence { name: "status updates, in order", kind: Kind::CallStarted, is_in_order: true, calls: 10, is_flat: true },
    Sequence {
        name: "status updates, backwards",
        kind: Kind::CallStarted,
        is_in_order: false,
        calls: 2,
        is_flat: false,
    },
    Sequence { name: "transcripts, in order", kind: Kind::Transcript, is_in_order: true, calls: 10, is_flat: true },
    Sequence { name: "reports, in order", kind: Kind::Report, is_in_order: true, calls: 2, is_flat: true },
    Sequence { name: "reports, backwards", kind: Kind::Report, is_in_order: false, calls: 1, is_flat: false },
];

/// Measures each sequence.
pub(super) async fn measure(site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
    let app = connection::open(&site.app_url).await?;
    let one = app.query_one("SELECT pg_backend_pid()", &[]).await.context("find the server process")?;
    let pid = u32::try_from(one.get::<_, i32>(0)).unwrap_or_default();
    app.batch_execute("SET synchronous_commit = off").await.context("set up the connection")?;
    let columns = ["events of one call", "10th, us", "100th, us", "1 000th, us", "1 000th of the 10th"];
    let mut table = Table::new("PostgreSQL's CPU for the n-th event of a call", &columns);
    site.pin(true)?;
    for (index, sequence) in (0_u64..).zip(SEQUENCES) {
        progress(&format!("The n-th event: {}", sequence.name));
        let last = if length == Length::Full { 1_000 } else { 12 };
        let figures = apply(site, (&app, pid), sequence, (RUN + index, last)).await?;
        let growth = figures[2] / figures[0];
        table.row([sequence.name.to_owned()].into_iter().chain(figures.into_iter().chain([growth]).map(number)));
        if sequence.is_flat && length == Length::Full {
            let name = format!("{}: PostgreSQL's CPU of the 1 000th of the 10th", sequence.name);
            report.database_goal(name, growth, Limit::AtMost(1.2));
        }
    }
    site.pin(false)?;
    report.add(table);
    Ok(())
}

/// CPU of an event around each n, in microseconds.
async fn apply(
    site: &Site<'_>,
    (app, pid): (&Client, u32),
    sequence: Sequence,
    (run, last): (u64, u64),
) -> Result<[f64; 3]> {
    let events = Events::of(site, sequence.kind)?;
    let received = Timestamp::now();
    let statement = app.prepare(APPLY).await.context("prepare a statement")?;
    let mut sums = [(0.0, 0.0); 3];
    for n in 1..=last {
        let offset = SignedDuration::from_secs(i64::try_from(n).unwrap_or_default());
        let time = if sequence.is_in_order { received + offset } else { received - offset };
        // All calls at once, so that the figure has the resolution of many events.
        let before = process::cpu(pid);
        for call in 0..sequence.calls {
            let mut place = Kind::CallStarted.place(run, 0, call);
            place.number += n;
            let mut event: Value = serde_json::from_str(&events.event.fill(place)).context("read an event")?;
            event["message_time"] = Value::String(time.to_string());
            let key = format!("{}:{n}", events.key.fill(place));
            let row = app.query_one(&statement, &[site.org.as_uuid(), &key, &event, &received]).await;
            let outcome: String = row.context("apply an event")?.get(0);
            if outcome != "applied" {
                return Err(Error::new(format!("event {n} of a call was not applied but {outcome}")));
            }
        }
        let took = process::cpu(pid).saturating_sub(before);
        for (sum, range) in sums.iter_mut().zip(&AT) {
            if range.contains(&n) {
                #[expect(clippy::cast_precision_loss, reason = "there are few calls")]
                let calls = sequence.calls as f64;
                *sum = (sum.0 + took.as_secs_f64() * 1e6, sum.1 + calls);
            }
        }
    }
    Ok(sums.map(|(micros, count)| micros / count))
}
