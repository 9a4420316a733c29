//! Calls whose report never came: Vapi is asked, and what it says is applied the way of every report.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ringfence_aws::Queue;
use ringfence_core::error::Failure;
use ringfence_core::reconciliation::{self, Missing};
use ringfence_egress::VapiApi;
use ringfence_identity::Sealer;
use ringfence_protocol::{Credential, Delivery};
use ringfence_runtime::Coded as _;
use ringfence_runtime::envelope::{self, Sealed};
use ringfence_runtime::metrics::{Counts, Metric};
use ringfence_runtime::trace::traced;
use ringfence_vapi::{BadRequest, FailureClass, FailureCode, Message, end_of_call_report, parse};

use ringfence_protocol::maintenance::Report;

use crate::{Maintenance, SHOWN};

/// Calls that are looked at in one statement.
const LOOKED_AT: i32 = 500;
/// Calls that are asked for one after the other. Vapi limits how often it may be asked.
const ASKED: i32 = 10;
/// Between two requests to Vapi.
const PACE: Duration = Duration::from_millis(200);
/// The first and the longest wait before a call is asked for again.
const RETRY: (Duration, Duration) = (Duration::from_mins(15), Duration::from_hours(6));

/// What reconciliation works with.
pub struct Reconciler {
    /// Who is asked.
    pub api: VapiApi,
    /// Who opens the keys to it.
    pub sealer: Sealer,
    /// The retry queue of reports.
    pub reports: Queue,
}

impl Maintenance {
    pub(crate) async fn reconcile(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        if report.dry_run {
            report.found = reconciliation::find(&self.database, SHOWN, false).await?.missing;
            return Ok(());
        }
        let mut counts = Counts::default();
        let result = self.reconcile_counted(report, until, &mut counts).await;
        counts.emit();
        result
    }

    async fn reconcile_counted(&self, report: &mut Report, until: Instant, counts: &mut Counts) -> Result<(), Failure> {
        loop {
            let looked = reconciliation::find(&self.database, LOOKED_AT, true).await?;
            report.found += looked.missing;
            if looked.missing > 0 {
                counts.add(Metric::CallsWithoutReport, looked.missing);
            }
            if looked.looked_at == 0 {
                break;
            }
            if Instant::now() > until {
                report.more = true;
                return Ok(());
            }
        }
        // An org whose key is refused is not asked for again in this run.
        let mut refused = HashSet::new();
        loop {
            let due = reconciliation::take(&self.database, ASKED).await?;
            if due.is_empty() {
                return Ok(());
            }
            for missing in due.into_iter().filter(|missing| !missing.is_over) {
                let asked = if refused.contains(&missing.org_id) {
                    Err(FailureCode::VapiKeyRefused)
                } else {
                    self.complete(&missing).await
                };
                if asked == Err(FailureCode::VapiKeyRefused) {
                    refused.insert(missing.org_id);
                }
                report.done += u64::from(asked == Ok(true));
                self.settle(&missing, asked, counts).await?;
            }
            if Instant::now() > until {
                report.more = true;
                return Ok(());
            }
        }
    }

    /// Asks for a call; if it has ended, its report is on its way. False: the call goes on.
    async fn complete(&self, missing: &Missing) -> Result<bool, FailureCode> {
        let Missing { org_id, vapi_call_id, key_version, .. } = missing;
        if missing.is_expired {
            return Err(FailureCode::VapiCallUnknown);
        }
        let sealed = missing.api_key.as_ref().ok_or(FailureCode::VapiKeyMissing)?;
        let reconciler = &self.reconciler;
        let key = reconciler.sealer.open_api_key(*org_id, sealed).ok_or(FailureCode::VapiKeyRefused)?;
        tokio::time::sleep(PACE).await;
        let call = reconciler.api.call(&key, vapi_call_id).await.map_err(|error| error.code())?;
        let Some(body) = end_of_call_report(&call) else { return Ok(false) };
        let now = Timestamp::now();
        let parsed = parse(body.to_string().as_bytes(), now).map_err(BadRequest::code)?;
        let Message::Stored(stored) = parsed.message else { return Err(FailureCode::EventUnreadable) };
        // Whatever Vapi answers, it is the call that was asked for.
        if stored.event.call().id != *vapi_call_id {
            return Err(FailureCode::EventUnreadable);
        }
        let credential = Credential::Org { org_id: *org_id, key_version: *key_version };
        let delivery: Delivery = traced(reconciler.sealer.delivery_of(credential, now, stored));
        match envelope::seal(&delivery) {
            Ok(Sealed::Fits(message)) => {
                reconciler.reports.send_text(message, None).await.map_err(|error| error.code())?;
            }
            Ok(Sealed::Oversize(_)) => return Err(FailureCode::EventTooLarge),
            Err(error) => return Err(error.code()),
        }
        Ok(true)
    }

    async fn settle(
        &self,
        missing: &Missing,
        asked: Result<bool, FailureCode>,
        counts: &mut Counts,
    ) -> Result<(), Failure> {
        let (org, call) = (missing.org_id, &missing.vapi_call_id);
        let exponent = missing.attempts.saturating_sub(1).min(8);
        let backoff = RETRY.0.saturating_mul(1 << exponent).min(RETRY.1);
        let (code, retry) = match asked {
            Ok(is_sent) => {
                if is_sent {
                    counts.add(Metric::Reconciled, 1);
                    tracing::info!(org.id = %org, call.id = %call, "a missing report is on its way");
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
        reconciliation::settle(&self.database, missing, code, retry).await?;
        Ok(())
    }
}
