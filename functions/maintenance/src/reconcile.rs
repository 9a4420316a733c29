//! Reconciliation: asks Vapi for calls whose report did not arrive, and queues the report as if Vapi had sent it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ringfence_aws::Queue;
use ringfence_core::error::Failure;
use ringfence_core::reconciliation::{self, Missing};
use ringfence_egress::VapiApi;
use ringfence_identity::{ApiKeySealer, DeliverySealer};
use ringfence_protocol::{Credential, Delivery, ParkRequest};
use ringfence_runtime::Coded as _;
use ringfence_runtime::envelope::{self, Sealed};
use ringfence_runtime::metrics::{Counts, Metric};
use ringfence_runtime::parking::Parking;
use ringfence_runtime::trace::traced;
use ringfence_vapi::{BadRequest, FailureClass, FailureCode, Message, end_of_call_report, parse};

use ringfence_protocol::maintenance::Report;

use crate::Maintenance;
use crate::cleaning::Problems;

/// The most calls that one statement examines.
const SCAN_LIMIT: i32 = 500;
/// The most calls for which Vapi is asked per batch, one after another, because Vapi limits the request rate.
const CALLS_PER_BATCH: i32 = 10;
/// The pause between two requests to Vapi.
const REQUEST_INTERVAL: Duration = Duration::from_millis(200);
/// The first and the longest delay before Vapi is asked for a call again.
const RETRY_DELAYS: (Duration, Duration) = (Duration::from_mins(15), Duration::from_hours(6));

pub struct Reconciler {
    pub api: VapiApi,
    /// Opens the orgs' API keys.
    pub api_keys: ApiKeySealer,
    pub sealer: DeliverySealer,
    /// The retry queue of reports.
    pub reports: Queue,
    /// Holds reports that are too large for a queue message.
    pub parking: Parking,
}

impl Maintenance {
    pub(crate) async fn reconcile(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        let mut counts = Counts::default();
        let examined = self.examine_calls(report, until, &mut counts).await;
        // A failed scan of one org must not stop the requests for the calls that are already known.
        let result = match examined {
            Err(failure) if failure.is_unavailable() => Err(failure),
            examined if report.dry_run || report.more => examined,
            examined => self.request_reports(report, until, &mut counts).await.and(examined),
        };
        counts.emit();
        result
    }

    /// Examines the calls whose first event was an hour ago, org by org.
    async fn examine_calls(&self, report: &mut Report, until: Instant, counts: &mut Counts) -> Result<(), Failure> {
        let run = !report.dry_run;
        let missing = AtomicU64::new(0);
        let mut scan = Report { found: 0, done: 0, ..*report };
        let batch = async |org, limit, run| {
            let scan = reconciliation::find(&self.database, org, limit, run).await?;
            missing.fetch_add(scan.missing, Ordering::Relaxed);
            Ok(scan.examined)
        };
        let result = self.for_each_org(&mut scan, until, SCAN_LIMIT, batch).await;
        let missing = missing.into_inner();
        report.found += missing;
        report.more |= scan.more;
        if run && missing > 0 {
            counts.add(Metric::CallsWithoutReport, missing);
        }
        result
    }

    async fn request_reports(&self, report: &mut Report, until: Instant, counts: &mut Counts) -> Result<(), Failure> {
        let mut problems = Problems::default();
        // Orgs whose key Vapi refused are skipped for the rest of this run.
        let mut refused = HashSet::new();
        loop {
            let due = reconciliation::take(&self.database, CALLS_PER_BATCH).await?;
            if due.is_empty() {
                return problems.result();
            }
            for missing in due.into_iter().filter(|missing| !missing.is_over) {
                let answer = if refused.contains(&missing.org_id) {
                    Err(FailureCode::VapiKeyRefused)
                } else {
                    self.complete(&missing).await
                };
                if answer == Err(FailureCode::VapiKeyRefused) {
                    refused.insert(missing.org_id);
                }
                report.done += u64::from(answer == Ok(true));
                // A call that failed is due again in ten minutes.
                if let Err(failure) = self.record_result(&missing, answer, counts).await {
                    let (org, call) = (missing.org_id, &missing.vapi_call_id);
                    let code = failure.code;
                    tracing::error!(org.id = %org, call.id = %call, failure.code = %code, "a result was not recorded");
                    problems.add(failure)?;
                }
            }
            if Instant::now() > until {
                report.more = true;
                return problems.result();
            }
        }
    }

    /// Asks Vapi for a call and queues its report if it has ended. False: the call has not ended.
    async fn complete(&self, missing: &Missing) -> Result<bool, FailureCode> {
        let Missing { org_id, vapi_call_id, key_version, .. } = missing;
        if missing.is_expired {
            return Err(FailureCode::VapiCallUnknown);
        }
        let sealed = missing.api_key.as_ref().ok_or(FailureCode::VapiKeyMissing)?;
        let reconciler = &self.reconciler;
        let key = reconciler.api_keys.open(*org_id, sealed).ok_or(FailureCode::VapiKeyRefused)?;
        tokio::time::sleep(REQUEST_INTERVAL).await;
        let call = reconciler.api.call(&key, vapi_call_id).await.map_err(|error| error.code())?;
        let Some(body) = end_of_call_report(&call) else { return Ok(false) };
        let now = Timestamp::now();
        let parsed = parse(body.to_string().as_bytes(), now).map_err(BadRequest::code)?;
        let Message::Stored(stored) = parsed.message else { return Err(FailureCode::EventUnreadable) };
        // Vapi must have returned the requested call.
        if stored.event.call().id != *vapi_call_id {
            return Err(FailureCode::EventUnreadable);
        }
        let credential = Credential::Org { org_id: *org_id, key_version: *key_version };
        let delivery: Delivery = traced(reconciler.sealer.delivery_of(credential, now, stored));
        match envelope::seal(&delivery) {
            Ok(Sealed::Fits(message)) => {
                reconciler.reports.send_text(message, None).await.map_err(|error| error.code())?;
            }
            Ok(Sealed::Oversize(envelope)) => {
                let request = ParkRequest::new(&delivery, envelope, None);
                let message = reconciler.parking.park(request).await.map_err(|error| error.code())?;
                reconciler.reports.send_text(message, None).await.map_err(|error| error.code())?;
            }
            Err(error) => return Err(error.code()),
        }
        Ok(true)
    }

    async fn record_result(
        &self,
        missing: &Missing,
        answer: Result<bool, FailureCode>,
        counts: &mut Counts,
    ) -> Result<(), Failure> {
        let (org, call) = (missing.org_id, &missing.vapi_call_id);
        let exponent = missing.attempts.saturating_sub(1).min(8);
        let backoff = RETRY_DELAYS.0.saturating_mul(1 << exponent).min(RETRY_DELAYS.1);
        let (code, retry) = match answer {
            Ok(is_sent) => {
                if is_sent {
                    counts.add(Metric::Reconciled, 1);
                    tracing::info!(org.id = %org, call.id = %call, "a missing report was queued");
                }
                // The row is closed when the report is applied.
                (None, Some(backoff))
            }
            Err(code) => {
                let is_over = code.class() != FailureClass::Transient;
                if is_over {
                    counts.add(Metric::CallsUnreachable, 1);
                }
                tracing::warn!(org.id = %org, call.id = %call, failure.code = %code, is_over, "a report is missing");
                (Some(code), (!is_over).then_some(backoff))
            }
        };
        reconciliation::record(&self.database, missing, code, retry).await?;
        Ok(())
    }
}
