//! Calls whose report did not arrive (`migrations/*__reconciliation.sql`).

use std::time::Duration;

use ringfence_vapi::{FailureCode, OrgId, VapiCallId};
use serde::Deserialize;
use tokio_postgres::types::Type;

use crate::console::answer;
use crate::database::Database;
use crate::error::Failure;

/// A call to be requested from Vapi.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Missing {
    pub org_id: OrgId,
    pub vapi_call_id: VapiCallId,
    /// The number of requests, this one included.
    pub attempts: u32,
    /// No request is needed: the report has arrived, or the call was erased.
    pub is_over: bool,
    /// Vapi no longer retains the call.
    pub is_expired: bool,
    /// The newest version of the org's key, which authorises the report.
    pub key_version: i32,
    /// The org's API key at Vapi, sealed.
    pub api_key: Option<String>,
}

/// The result of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Scan {
    /// The number of examined calls. 0: there are no more.
    pub examined: u64,
    /// The number of these calls that have no report.
    pub missing: u64,
}

/// Examines at most `limit` further calls of an org and records those without a report. Without `run` it records nothing.
pub async fn find(database: &Database, org: OrgId, limit: i32, run: bool) -> Result<Scan, Failure> {
    let statement = "SELECT to_jsonb(f) FROM find_missing_reports_v1($1, $2, $3) f";
    answer(database, statement, &[(org.as_uuid(), Type::UUID), (&limit, Type::INT4), (&run, Type::BOOL)]).await
}

/// Takes at most `limit` calls that are due. Other invocations do not get them for ten minutes.
pub async fn take(database: &Database, limit: i32) -> Result<Vec<Missing>, Failure> {
    let statement = "SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') FROM take_reconciliations_v1($1) t";
    answer(database, statement, &[(&limit, Type::INT4)]).await
}

/// Records the result of a request. Vapi is asked again after `retry`, or never (None). False: the report has arrived
/// meanwhile.
pub async fn record(
    database: &Database,
    missing: &Missing,
    code: Option<FailureCode>,
    retry: Option<Duration>,
) -> Result<bool, Failure> {
    let retry_seconds = retry.map(|retry| i32::try_from(retry.as_secs()).unwrap_or(i32::MAX));
    let code = code.map(|code| code.to_string());
    let row = database
        .query_one(
            "SELECT record_reconciliation_v1($1, $2, $3, $4)",
            &[
                (missing.org_id.as_uuid(), Type::UUID),
                (&missing.vapi_call_id.as_str(), Type::TEXT),
                (&code, Type::TEXT),
                (&retry_seconds, Type::INT4),
            ],
        )
        .await?;
    Ok(row.try_get(0)?)
}
