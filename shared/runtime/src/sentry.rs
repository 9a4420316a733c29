//! Sentry hears of transactions that failed for good, and of panics: ids and codes, and never what an event says.
//!
//! Its own protocol and types, over the HTTP client that is linked anyway. What is to be told is kept until the invocation is about to be
//! answered, since an execution environment may be frozen after it; and telling takes half a second at the most, whatever Sentry does.

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

/// The longest that telling takes, all of it.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
/// As much is told of one code and org in a minute: what there is more of is in the rows.
const PER_MINUTE: u32 = 3;
/// As much is kept until it is told.
const MOST_KEPT: usize = 20;
const MINUTE: Duration = Duration::from_mins(1);
const CLIENT: &str = concat!("ringfence/", env!("CARGO_PKG_VERSION"));

/// A transaction that failed, by what may be told of it.
#[derive(Clone, Copy, Debug)]
pub struct FailedTransaction<'a> {
    /// Whose it was; None: nobody's yet.
    pub org_id: Option<OrgId>,
    /// Vapi's id of the call.
    pub call_id: &'a str,
    /// The event's key.
    pub event_key: &'a str,
    /// Its type.
    pub event_type: &'a str,
    /// Why.
    pub failure: &'a Failure,
    /// What its log lines have in common.
    pub trace_id: Option<&'a str>,
}

/// Who tells Sentry.
pub struct Reporter {
    dsn: Dsn,
    client: EgressClient,
    function: String,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    events: Vec<Event<'static>>,
    told: HashMap<String, (SystemTime, u32)>,
}

static REPORTER: OnceLock<Reporter> = OnceLock::new();

/// Starts telling, if `SENTRY_DSN` says where. One that cannot be read is said in the log, and nobody is told.
pub(crate) fn start() {
    let Some(dsn) = std::env::var("SENTRY_DSN").ok().filter(|dsn| !dsn.is_empty()) else { return };
    let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    let Ok(dsn) = dsn.parse() else {
        tracing::error!("SENTRY_DSN is not the DSN of a Sentry project");
        return;
    };
    install(Reporter::new(dsn, EgressClient::new(EgressPolicy::Anywhere), function));
}

/// Makes this one the process's own. The first stays.
pub fn install(reporter: Reporter) {
    let _ = REPORTER.set(reporter);
}

/// Keeps a failed transaction to be told.
pub fn failed(failed: &FailedTransaction<'_>) {
    if let Some(reporter) = REPORTER.get() {
        reporter.failed(failed);
    }
}

/// Keeps a panic to be told: its place only, since its message may quote what could not be handled.
pub fn panicked(place: &str) {
    if let Some(reporter) = REPORTER.get() {
        reporter.panicked(place);
    }
}

/// Tells what is kept. Called before an invocation is answered.
pub async fn flush() {
    if let Some(reporter) = REPORTER.get() {
        reporter.flush().await;
    }
}

impl Reporter {
    /// Tells the project of `dsn`, as `function`.
    #[must_use]
    pub fn new(dsn: Dsn, client: EgressClient, function: impl Into<String>) -> Self {
        Self { dsn, client, function: function.into(), kept: Mutex::default() }
    }

    /// Keeps a failed transaction to be told.
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
        self.keep(format!("{code} {}", org.as_deref().unwrap_or("no org")), event);
    }

    /// Keeps a panic to be told.
    pub fn panicked(&self, place: &str) {
        let mut event = self.event("panicked".to_owned(), &["panicked", place]);
        event.tags.insert("panic.location".to_owned(), place.to_owned());
        self.keep(format!("panic {place}"), event);
    }

    /// Tells what is kept. What cannot be told in time is lost to Sentry, and stands in log and rows.
    pub async fn flush(&self) {
        let events = std::mem::take(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner).events);
        if events.is_empty() {
            return;
        }
        let count = events.len();
        let tell = async {
            for event in events {
                self.tell(event).await?;
            }
            Some(())
        };
        if !matches!(tokio::time::timeout(FLUSH_TIMEOUT, tell).await, Ok(Some(()))) {
            tracing::warn!(count, "Sentry could not be told");
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
            transaction: Some(self.function.clone()),
            timestamp: SystemTime::now(),
            ..Event::default()
        }
    }

    fn keep(&self, kind: String, event: Event<'static>) {
        // The wall clock: timers stand still while an environment is frozen.
        let now = SystemTime::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.told.retain(|_, (since, _)| now.duration_since(*since).unwrap_or_default() < MINUTE);
        let (_, told) = kept.told.entry(kind).or_insert((now, 0));
        *told += 1;
        if *told <= PER_MINUTE && kept.events.len() < MOST_KEPT {
            kept.events.push(event);
        }
    }

    async fn tell(&self, event: Event<'static>) -> Option<()> {
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
