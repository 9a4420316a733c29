//! Calls whose report never came (`migrations/*__reconciliation.sql`).

use std::time::Duration;

use ringfence_vapi::{FailureCode, OrgId, VapiCallId};
use serde::Deserialize;
use tokio_postgres::types::Type;

use crate::console::answer;
use crate::database::Database;
use crate::error::Failure;

/// A call that Vapi is to be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Missing {
    /// Its org.
    pub org_id: OrgId,
    /// Vapi's id.
    pub vapi_call_id: VapiCallId,
    /// How often it was asked for, this time included.
    pub attempts: u32,
    /// There is nothing to ask any more: its report has come, or it was erased.
    pub is_over: bool,
    /// Vapi does not keep it any longer.
    pub is_expired: bool,
    /// The newest version of the org's key, with which its report is applied.
    pub key_version: i32,
    /// The org's API key at Vapi, sealed.
    pub api_key: Option<String>,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Looked {
    /// Calls. 0: there are no more.
    pub looked_at: u64,
    /// Those of them that have no report.
    pub missing: u64,
}

/// Looks at further calls, at most `limit`, and notes those without a report; with `run` false it notes nothing.
pub async fn find(database: &Database, limit: i32, run: bool) -> Result<Looked, Failure> {
    let statement = "SELECT to_jsonb(f) FROM find_missing_reports_v1($1, $2) f";
    answer(database, statement, &[(&limit, Type::INT4), (&run, Type::BOOL)]).await
}

/// Calls, at most `limit`, that are to be asked for now. Nobody else gets them for ten minutes.
pub async fn take(database: &Database, limit: i32) -> Result<Vec<Missing>, Failure> {
    let statement = "SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') FROM take_reconciliations_v1($1) t";
    answer(database, statement, &[(&limit, Type::INT4)]).await
}

/// Writes down what asking has brought: it is asked for again after `retry`, or never (None). False: its report has come meanwhile.
pub async fn settle(
    database: &Database,
    missing: &Missing,
    code: Option<FailureCode>,
    retry: Option<Duration>,
) -> Result<bool, Failure> {
    let retry_seconds = retry.map(|retry| i32::try_from(retry.as_secs()).unwrap_or(i32::MAX));
    let code = code.map(|code| code.to_string());
    let row = database
        .query_one(
            "SELECT settle_reconciliation_v1($1, $2, $3, $4)",
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
