//! Time from exec to the first poll, and to the first answer with TLS to the database.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use super::events::{Events, Kind, request};
use super::load::is_taken;
use super::site::Site;
use super::table::{Limit, Report, Table, median, number};
use super::{Length, interactive};
use ringfence_harness::error::{Error, Result};
use ringfence_harness::lambda::{FunctionSpec, Host};
use ringfence_harness::process_usage as process;

/// Measured functions. The functions behind queues all start in the same way.
const FUNCTIONS: [&str; 6] =
    ["webhook", "transcript", "end-of-call-report", "assistant-request", "tool-calls", "health"];
/// Run number whose calls no load uses.
const RUN: u64 = 8_000;

/// One start.
struct Start {
    polled: Duration,
    answered: Duration,
    memory: u64,
}

/// Starts each binary repeatedly.
pub(super) async fn measure(site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
    let count = if length == Length::Full { 50 } else { 3 };
    let columns = ["function", "exec to first poll, ms", "exec to first answer over TLS, ms", "peak memory, MB"];
    super::size::measure(report)?;
    let mut table = Table::new(format!("Starts, median of {count}"), &columns);
    let webhook = Events::of(site, Kind::Transcript)?;
    for name in FUNCTIONS {
        let spec = site.function(name, 1, &site.tls_url())?;
        let mut starts = Vec::new();
        for index in 0..count {
            starts.push(start(&spec, first_event(site, &webhook, name, index)?).await?);
        }
        let figure = |of: fn(&Start) -> f64| median(starts.iter().map(of));
        let (polled, answered) = (figure(|start| ms(start.polled)), figure(|start| ms(start.answered)));
        let memory = figure(|start| megabytes(start.memory));
        table.row([name.to_owned(), number(polled), number(answered), number(memory)]);
        report.goal(format!("{name}: exec to first poll, ms"), polled, Limit::AtMost(15.0));
        report.goal(format!("{name}: exec to first answer over TLS, ms"), answered, Limit::AtMost(40.0));
        if name == "webhook" {
            report.goal("webhook's peak memory after one webhook, MB", memory, Limit::AtMost(30.0));
        }
    }
    report.add(table);
    Ok(())
}

async fn start(spec: &FunctionSpec, event: Bytes) -> Result<Start> {
    let host = Host::start(std::slice::from_ref(spec)).await?;
    let answer = host.invoke(&spec.name, event).await;
    let at = Instant::now();
    let starts = host.starts(&spec.name);
    let started = starts.first().ok_or_else(|| Error::new("a function has just ended"))?;
    let (executed, polled) = (started.executed, started.polled.unwrap_or(at));
    let memory = process::peak_memory(started.pid).unwrap_or_default();
    host.stop().await;
    if !answer.as_ref().is_ok_and(|answer| is_taken(answer) || is_whole_batch(answer)) {
        return Err(Error::new(format!("{} did not answer its first event: {answer:?}", spec.name)));
    }
    Ok(Start { polled: polled - executed, answered: at - executed, memory })
}

fn first_event(site: &Site<'_>, webhook: &Events, name: &str, index: u64) -> Result<Bytes> {
    let place = webhook.kind.place(RUN, 0, index);
    Ok(match name {
        "webhook" => webhook.request(place),
        "assistant-request" => request(site, &interactive::assistant_request(0).to_string())?.into(),
        "tool-calls" => request(site, &interactive::tool_call(0).to_string())?.into(),
        "health" => json!({
            "version": "2.0", "routeKey": "GET /health", "rawPath": "/health", "rawQueryString": "", "headers": {},
            "requestContext": {
                "http": {"method": "GET", "path": "/health", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": ""},
                "accountId": "0", "apiId": "0", "domainName": "", "domainPrefix": "", "requestId": "0", "routeKey": "GET /health",
                "stage": "$default", "time": "01/Jan/2026:00:00:00 +0000", "timeEpoch": 0,
            },
            "isBase64Encoded": false,
        })
        .to_string()
        .into(),
        _ => super::drain::batch(site, &Events::of(site, kind_of(name))?, RUN, index..index + 1)?,
    })
}

fn kind_of(function: &str) -> Kind {
    if function == "transcript" { Kind::Transcript } else { Kind::Report }
}

/// Whether a function answered that no message of its batch failed.
fn is_whole_batch(answer: &[u8]) -> bool {
    answer == br#"{"batchItemFailures":[]}"#
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "no process has 2^52 bytes")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
