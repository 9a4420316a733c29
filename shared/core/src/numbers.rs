//! The rollups: hourly counts for the Numbers page (`migrations/*__numbers.sql`).

use jiff::Timestamp;
use ringfence_vapi::{AgentId, OrgId};
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use tokio_postgres::types::Type;

use crate::console::answer;
use crate::database::{Database, Parameter};
use crate::error::Failure;

/// The numbers of an org for a period, of one agent or of all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// Each hour, also hours without calls.
    pub hours: Vec<Hour>,
    /// The calls by the family of their ended reason, the most frequent first; also `open` and `unknown`.
    pub families: Vec<Family>,
    /// Seconds.
    pub durations: Spreads,
    /// US dollars.
    pub costs: Spreads,
    /// Milliseconds. Of the whole org, also if an agent is selected.
    pub latencies: Latencies,
    /// The org's applied events by type, the most frequent first.
    pub types: Vec<Named>,
    /// The org's events that began to fail or were moved to the dead-letter queue, by code, the most frequent first.
    pub failures: Vec<Named>,
    /// The org's agents, the busiest first.
    pub agents: Vec<AgentNumbers>,
}

/// The calls whose first event was received in one hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hour {
    pub hour: Timestamp,
    pub calls: i64,
    /// Answered calls.
    pub connected: i64,
    /// The org's events that began to fail or were moved to the dead-letter queue.
    pub failures: i64,
}

/// Calls with ended reasons of one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    pub family: String,
    pub calls: i64,
    /// Answered calls.
    pub connected: i64,
}

/// The distribution of a value, over all calls and over answered calls. A call without the value is left out. None: no
/// call has the value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spreads {
    pub all: Option<Spread>,
    /// Answered calls.
    pub connected: Option<Spread>,
}

/// Latencies of webhooks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// From the time in Vapi's message until the webhook function received it.
    pub delivery_ms: Option<Spread>,
    /// From there until the rows were written, including time in queues.
    pub apply_ms: Option<Spread>,
}

/// Percentiles by nearest rank: exact up to 1 000 values, within 2 % above.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    /// The number of calls with the value.
    pub calls: i64,
    /// The exact sum. None: the sum has no meaning.
    pub total: Option<f64>,
}

/// The count of events of one type or code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// A type or a code.
    pub name: String,
    pub events: i64,
}

/// An agent's calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentNumbers {
    pub id: AgentId,
    pub name: String,
    /// All calls. None: the agent had none.
    pub calls: Option<i64>,
    /// Answered calls.
    pub connected: i64,
}

/// The rollup that a period is read from.
#[derive(Clone, Copy, Debug, IntoStaticStr, PartialEq, Eq)]
#[strum(serialize_all = "kebab-case")]
pub enum By {
    /// For periods of up to two days.
    Hour,
    /// For longer periods.
    Day,
}

/// The numbers of an org, of one agent or of all, from the start of the hour or day of `since` until `until`.
pub async fn show(
    database: &Database,
    org: OrgId,
    agent: Option<AgentId>,
    since: Timestamp,
    until: Timestamp,
    by: By,
) -> Result<Numbers, Failure> {
    let parameters: [Parameter<'_>; 5] = [
        (org.as_uuid(), Type::UUID),
        (&agent.as_ref().map(AgentId::as_uuid), Type::UUID),
        (&since, Type::TIMESTAMPTZ),
        (&until, Type::TIMESTAMPTZ),
        (&<&str>::from(by), Type::TEXT),
    ];
    answer(database, "SELECT show_numbers_v1($1, $2, $3, $4, $5)", &parameters).await
}

/// Counts at most `limit` further events of an org's log and returns their number. 0: there are none, or another
/// invocation is counting.
pub async fn roll_up(database: &Database, org: OrgId, limit: i32) -> Result<u64, Failure> {
    let row =
        database.query_one("SELECT roll_up_v1($1, $2)", &[(org.as_uuid(), Type::UUID), (&limit, Type::INT4)]).await?;
    Ok(u64::from(row.try_get::<_, i32>(0)?.unsigned_abs()))
}
