//! Posts webhooks concurrently at a rate, and repeats them if they are not acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use reqwest::{Client, StatusCode};
use tokio::time::Instant;

use super::Target;
use super::bodies::body;
use super::schedule::{Delivery, Train};
use ringfence_harness::error::{Context, Result};
use ringfence_harness::local::http;

/// Vapi's timeout for an answer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// First pause between attempts. Each further pause is twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// Rate of the webhooks.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Calls that begin per second. `None` sends them as fast as they are answered.
    pub rate: Option<f64>,
    /// Maximum number of concurrent webhooks.
    pub concurrency: usize,
}

/// Result of sending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Webhooks, each counted once.
    pub sent: u64,
    /// Webhooks that were answered with 2xx, at the first or a later attempt.
    pub acknowledged: u64,
    /// Repeated attempts.
    pub repeated: u64,
    /// Answers other than 2xx, with their numbers.
    pub refusals: BTreeMap<String, u64>,
    /// Acknowledged events: id of the call and index of the event in it.
    pub taken: BTreeSet<(String, usize)>,
    /// Time at which each acknowledged webhook was posted, and duration until its answer.
    pub answers: Vec<(Instant, Duration)>,
}

impl Tally {
    /// Whether every webhook was acknowledged.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.acknowledged == self.sent
    }

    fn add(mut self, other: Self) -> Self {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.repeated += other.repeated;
        self.taken.extend(other.taken);
        self.answers.extend(other.answers);
        for (answer, count) in other.refusals {
            *self.refusals.entry(answer).or_default() += count;
        }
        self
    }
}

/// Sender to one webhook URL.
pub(super) struct Sender<'a> {
    http: Client,
    target: &'a Target,
    attempts: u32,
    bar: ProgressBar,
}

impl<'a> Sender<'a> {
    pub(super) fn new(target: &'a Target, attempts: u32) -> Result<Self> {
        let client = if target.is_on_this_machine() {
            http::client(TIMEOUT)?
        } else {
            Client::builder().timeout(TIMEOUT).build().context("make an HTTP client")?
        };
        Ok(Self { http: client, target, attempts, bar: ProgressBar::no_length() })
    }

    /// Sends all trains. `calls` is the number of calls in them.
    pub(super) async fn send(self, trains: Vec<Train<'_>>, calls: usize, pace: Pace) -> Tally {
        let deliveries: usize = trains.iter().map(Vec::len).sum();
        self.bar.set_length(deliveries as u64);
        let style = ProgressStyle::with_template("  {wide_bar} {pos}/{len} {per_sec} {msg}");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));

        let interval = interval(trains.len(), calls, pace.rate);
        let start = Instant::now();
        let departures = trains.into_iter().zip(0_u32..).map(|(train, index)| (start + interval * index, train));
        let sent = stream::iter(departures)
            .map(|(departure, train)| self.send_train(departure, train))
            .buffer_unordered(pace.concurrency);
        let tally = sent.fold(Tally::default(), async |tally, train| tally.add(train)).await;
        self.bar.finish_and_clear();
        tally
    }

    async fn send_train(&self, departure: Instant, train: Train<'_>) -> Tally {
        tokio::time::sleep_until(departure).await;
        let mut tally = Tally::default();
        for delivery in train {
            tally = tally.add(self.deliver(delivery).await);
            self.bar.inc(1);
        }
        tally
    }

    /// Posts a webhook until it is acknowledged, is refused permanently, or has reached the maximum number of attempts.
    async fn deliver(&self, delivery: Delivery<'_>) -> Tally {
        let body = body(delivery.call, delivery.step, delivery.number).to_string();
        let mut tally = Tally { sent: 1, ..Tally::default() };
        for attempt in 0..self.attempts {
            if attempt > 0 {
                tally.repeated += 1;
                tokio::time::sleep(PAUSE * 2_u32.pow(attempt - 1)).await;
            }
            let posted = Instant::now();
            let status = self.post(delivery, &body).await;
            if status.is_some_and(|status| status.is_success()) {
                tally.acknowledged = 1;
                tally.taken.insert((delivery.call.id.clone(), delivery.position));
                tally.answers.push((posted, posted.elapsed()));
                break;
            }
            let answer = status.map_or_else(|| "no answer".to_owned(), |status| status.as_str().to_owned());
            self.bar.set_message(format!("(repeating webhooks: {answer})"));
            *tally.refusals.entry(answer).or_default() += 1;
            if !status.is_none_or(may_pass) {
                break;
            }
        }
        tally
    }

    /// Status of the answer. `None` if there was no answer.
    async fn post(&self, delivery: Delivery<'_>, body: &str) -> Option<StatusCode> {
        let Target { webhook_url, key, .. } = self.target;
        let mut request =
            self.http.post(delivery.mechanism.url(webhook_url, key)).header("content-type", "application/json");
        for (name, value) in delivery.mechanism.headers(key, body.as_bytes(), Timestamp::now()) {
            request = request.header(name, value);
        }
        Some(request.body(body.to_owned()).send().await.ok()?.status())
    }
}

/// Whether another attempt may succeed.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// Time between the starts of two trains, so that all calls together have the rate.
fn interval(trains: usize, calls: usize, rate: Option<f64>) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52 calls")]
    let seconds = |rate: f64| calls as f64 / rate / trains.max(1) as f64;
    rate.map_or(Duration::ZERO, |rate| Duration::try_from_secs_f64(seconds(rate)).unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_of_calls_however_they_are_mixed() {
        assert_eq!(interval(10, 10, Some(20.0)), Duration::from_millis(50));
        assert_eq!(interval(100, 10, Some(20.0)), Duration::from_millis(5));
        assert_eq!(interval(100, 10, None), Duration::ZERO);
    }

    #[test]
    fn a_refusal_of_the_sender_is_final() {
        assert!(may_pass(StatusCode::SERVICE_UNAVAILABLE) && may_pass(StatusCode::TOO_MANY_REQUESTS));
        assert!(!may_pass(StatusCode::UNAUTHORIZED) && !may_pass(StatusCode::BAD_REQUEST));
    }
}
