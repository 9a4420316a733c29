//! Reports to Sentry: permanently failed events and panics, by ids and codes, never by content.
//!
//! Sentry's envelope protocol over the HTTP client that is linked anyway. Reports are buffered and sent before the invocation is answered,
//! since Lambda may freeze the execution environment afterwards.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use lambda_http::http::{HeaderValue, Request, header};
use ringfence_core::error::Failure;
use ringfence_egress::{EgressClient, EgressPolicy};
use ringfence_vapi::OrgId;
use sentry_types::Dsn;
use sentry_types::protocol::v7::{Envelope, Event, Level};
use uuid::Uuid;

/// Bounds the sending of all buffered reports.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
/// Reports of one code and org per minute. The rows have the rest.
const PER_MINUTE: u32 = 3;
/// The size of the buffer.
const MAX_BUFFERED: usize = 20;
const MINUTE: Duration = Duration::from_mins(1);
const CLIENT: &str = concat!("ringfence/", env!("CARGO_PKG_VERSION"));

/// What is reported of a failed event.
#[derive(Clone, Copy, Debug)]
pub struct FailedTransaction<'a> {
    pub org_id: Option<OrgId>,
    pub call_id: &'a str,
    pub event_key: &'a str,
    pub event_type: &'a str,
    pub failure: &'a Failure,
    pub trace_id: Option<&'a str>,
}

/// Buffers reports and sends them.
pub struct Reporter {
    dsn: Dsn,
    client: EgressClient,
    /// None outside Lambda.
    function: Option<String>,
    flush_timeout: Duration,
    buffer: Mutex<Buffer>,
}

#[derive(Default)]
struct Buffer {
    events: Vec<Event<'static>>,
    sent: HashMap<String, (SystemTime, u32)>,
}

static REPORTER: OnceLock<Reporter> = OnceLock::new();

/// Starts reporting if `SENTRY_DSN` is set. An invalid DSN is logged, and nothing is reported.
pub(crate) fn start() {
    let Some(dsn) = std::env::var("SENTRY_DSN").ok().filter(|dsn| !dsn.is_empty()) else { return };
    let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").ok();
    let Ok(dsn) = dsn.parse() else {
        tracing::error!("SENTRY_DSN is not the DSN of a Sentry project");
        return;
    };
    install(Reporter::new(dsn, EgressClient::new(EgressPolicy::Anywhere), function, FLUSH_TIMEOUT));
}

/// Installs the process's reporter. A second call has no effect.
pub fn install(reporter: Reporter) {
    let _ = REPORTER.set(reporter);
}

/// Buffers a failed event.
pub fn failed(failed: &FailedTransaction<'_>) {
    if let Some(reporter) = REPORTER.get() {
        reporter.failed(failed);
    }
}

/// Buffers a panic: its location only, since its message may quote data.
pub fn panicked(location: &str) {
    if let Some(reporter) = REPORTER.get() {
        reporter.panicked(location);
    }
}

/// Sends the buffered reports. Called before an invocation is answered.
pub async fn flush() {
    if let Some(reporter) = REPORTER.get() {
        reporter.flush().await;
    }
}

impl Reporter {
    /// Reports to the project of `dsn`. Each report names `function`. A flush that takes longer than `flush_timeout` is
    /// abandoned.
    #[must_use]
    pub fn new(dsn: Dsn, client: EgressClient, function: Option<String>, flush_timeout: Duration) -> Self {
        Self { dsn, client, function, flush_timeout, buffer: Mutex::default() }
    }

    pub fn failed(&self, failed: &FailedTransaction<'_>) {
        let FailedTransaction { org_id, call_id, event_key, event_type, failure, trace_id } = *failed;
        let code = failure.code.to_string();
        let mut event = self.event(format!("{code}: {}", failure.code.title()), &["failed", &code, event_type]);
        let org = org_id.map(|org| org.to_string());
        for (name, value) in [
            ("org.id", org.as_deref()),
            ("call.id", Some(call_id)),
            ("event.key", Some(event_key)),
            ("event.type", Some(event_type)),
            ("failure.code", Some(code.as_str())),
            ("db.sqlstate", failure.sqlstate.as_deref()),
            ("db.constraint", failure.constraint.as_deref()),
            ("trace.id", trace_id),
        ] {
            if let Some(value) = value {
                event.tags.insert(name.to_owned(), value.to_owned());
            }
        }
        self.buffer(format!("{code} {}", org.as_deref().unwrap_or("no org")), event);
    }

    pub fn panicked(&self, location: &str) {
        let mut event = self.event("panicked".to_owned(), &["panicked", location]);
        event.tags.insert("panic.location".to_owned(), location.to_owned());
        self.buffer(format!("panic {location}"), event);
    }

    /// Sends the buffered reports. What cannot be sent in time is in the log and the rows only.
    pub async fn flush(&self) {
        let events = std::mem::take(&mut self.buffer.lock().unwrap_or_else(PoisonError::into_inner).events);
        if events.is_empty() {
            return;
        }
        let count = events.len();
        let send = async {
            for event in events {
                self.send(event).await?;
            }
            Some(())
        };
        if !matches!(tokio::time::timeout(self.flush_timeout, send).await, Ok(Some(()))) {
            tracing::warn!(count, "reports to Sentry were not sent");
        }
    }

    fn event(&self, message: String, fingerprint: &[&str]) -> Event<'static> {
        Event {
            event_id: Uuid::new_v4(),
            level: Level::Error,
            message: Some(message),
            fingerprint: fingerprint.iter().map(|part| (*part).to_owned().into()).collect::<Vec<_>>().into(),
            logger: Some("ringfence".to_owned()),
            release: Some(CLIENT.into()),
            transaction: self.function.clone(),
            timestamp: SystemTime::now(),
            ..Event::default()
        }
    }

    fn buffer(&self, kind: String, event: Event<'static>) {
        // The wall clock, because a monotonic clock stops while the environment is frozen.
        let now = SystemTime::now();
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.sent.retain(|_, (since, _)| now.duration_since(*since).unwrap_or_default() < MINUTE);
        let (_, sent) = buffer.sent.entry(kind).or_insert((now, 0));
        *sent += 1;
        if *sent <= PER_MINUTE && buffer.events.len() < MAX_BUFFERED {
            buffer.events.push(event);
        }
    }

    async fn send(&self, event: Event<'static>) -> Option<()> {
        let mut body = Vec::new();
        Envelope::from(event).to_writer(&mut body).ok()?;
        let mut authorization = HeaderValue::from_str(&self.dsn.to_auth(Some(CLIENT)).to_string()).ok()?;
        authorization.set_sensitive(true);
        let request = Request::post(self.dsn.envelope_api_url().as_str())
            .header("x-sentry-auth", authorization)
            .header(header::CONTENT_TYPE, "application/x-sentry-envelope")
            .body(Full::new(Bytes::from(body)))
            .ok()?;
        let answer = self.client.send(request).await.ok()?;
        answer.status().is_success().then_some(())
    }
}
