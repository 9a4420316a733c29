//! Reconciliation: asks Vapi for calls whose report did not arrive, and queues the report as if Vapi had sent it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ringfence_aws::Queue;
use ringfence_core::error::Failure;
use ringfence_core::reconciliation::{self, Missing};
use ringfence_egress::VapiApi;
use ringfence_identity::Sealer;
use ringfence_protocol::{Credential, Delivery};
use ringfence_runtime::envelope::{self, Sealed};
use ringfence_runtime::metrics::{Counts, Metric};
use ringfence_runtime::trace::traced;
use ringfence_vapi::{BadRequest, FailureCode, Message, parse};
use serde_json::{Map, Value, json};

use ringfence_protocol::maintenance::Report;

use crate::{DRY_RUN_LIMIT, Maintenance};

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
    pub sealer: Sealer,
    /// The retry queue of reports.
    pub reports: Queue,
}

impl Maintenance {
    pub(crate) async fn reconcile(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        if report.dry_run {
            report.found = reconciliation::find(&self.database, DRY_RUN_LIMIT, false).await?.missing;
            return Ok(());
        }
        let mut counts = Counts::default();
        let result = self.reconcile_counted(report, until, &mut counts).await;
        counts.emit();
        result
    }

    async fn reconcile_counted(&self, report: &mut Report, until: Instant, counts: &mut Counts) -> Result<(), Failure> {
        loop {
            let scan = reconciliation::find(&self.database, SCAN_LIMIT, true).await?;
            report.found += scan.missing;
            if scan.missing > 0 {
                counts.add(Metric::CallsWithoutReport, scan.missing);
            }
            if scan.examined == 0 {
                break;
            }
            if Instant::now() > until {
                report.more = true;
                return Ok(());
            }
        }
        // Orgs whose key Vapi refused are skipped for the rest of this run.
        let mut refused = HashSet::new();
        loop {
            let due = reconciliation::take(&self.database, CALLS_PER_BATCH).await?;
            if due.is_empty() {
                return Ok(());
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
                self.record_result(&missing, answer, counts).await?;
            }
            if Instant::now() > until {
                report.more = true;
                return Ok(());
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
        let key = reconciler.sealer.open_api_key(*org_id, sealed).ok_or(FailureCode::VapiKeyRefused)?;
        tokio::time::sleep(REQUEST_INTERVAL).await;
        let call = reconciler.api.call(&key, vapi_call_id).await?;
        let Some(body) = report_of(&call) else { return Ok(false) };
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
            Ok(Sealed::Fits(message)) => reconciler.reports.send_text(message, None).await.map_err(|error| error.0)?,
            _ => return Err(FailureCode::EventTooLarge),
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
                let is_over = matches!(
                    code,
                    FailureCode::VapiCallUnknown
                        | FailureCode::VapiKeyMissing
                        | FailureCode::EventUnreadable
                        | FailureCode::EventTooLarge
                );
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

/// The `end-of-call-report` that Vapi would have sent for this `Call`. None: the call has not ended.
///
/// Vapi's `Call` has the fields of the report under the same names. `endedReason` shows that the call has ended even if
/// the status is outdated. The message's time is the call's last change, so that two requests for one call give the
/// same event key.
fn report_of(call: &Value) -> Option<Value> {
    let is_over = call.get("status").and_then(Value::as_str) == Some("ended");
    if !is_over && call.get("endedReason").is_none_or(Value::is_null) {
        return None;
    }
    let mut message = Map::new();
    message.insert("type".to_owned(), json!("end-of-call-report"));
    for name in [
        "endedReason",
        "startedAt",
        "endedAt",
        "cost",
        "costs",
        "costBreakdown",
        "analysis",
        "artifact",
        "destination",
        "customer",
        "phoneNumber",
        "assistant",
        "compliance",
    ] {
        if let Some(value) = call.get(name) {
            message.insert(name.to_owned(), value.clone());
        }
    }
    let changed = ["updatedAt", "endedAt", "createdAt"].into_iter().find_map(|name| call.get(name)?.as_str());
    if let Some(at) = changed.and_then(|text| text.parse::<Timestamp>().ok()) {
        message.insert("timestamp".to_owned(), json!(at.as_millisecond()));
    }
    message.insert("call".to_owned(), call.clone());
    Some(json!({ "message": message }))
}
