//! What is counted by the hour (`migrations/*__numbers.sql`).

use jiff::Timestamp;
use ringfence_vapi::{AgentId, OrgId};
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use tokio_postgres::types::{Json, Type};

use crate::console::answer;
use crate::database::{Database, Parameter};
use crate::error::Failure;

/// An org's numbers of some hours, of one agent or of all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// Each hour, also those in which nothing happened.
    pub hours: Vec<Hour>,
    /// The calls by the family of the reason why they ended, the most first; also `open` and `unknown`.
    pub families: Vec<Family>,
    /// Seconds.
    pub durations: Spreads,
    /// US dollars.
    pub costs: Spreads,
    /// Milliseconds. Of the org, whichever agent is chosen.
    pub latencies: Latencies,
    /// The org's applied events by type, the most first.
    pub types: Vec<Named>,
    /// The org's events that began to fail or were given up, by code, the most first.
    pub failures: Vec<Named>,
    /// The org's agents, the busiest first.
    pub agents: Vec<AgentNumbers>,
}

/// An hour, by when calls were first heard of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hour {
    /// When it begins.
    pub hour: Timestamp,
    /// All calls.
    pub calls: i64,
    /// Those that were answered.
    pub connected: i64,
    /// The org's events that began to fail or were given up.
    pub failures: i64,
}

/// Calls that ended alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// The family.
    pub family: String,
    /// All calls.
    pub calls: i64,
    /// Those that were answered.
    pub connected: i64,
}

/// How a value is spread, over all calls and over those that were answered. None: of no call is it known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spreads {
    /// All calls.
    pub all: Option<Spread>,
    /// Those that were answered.
    pub connected: Option<Spread>,
}

/// How long webhooks took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// From the time that Vapi gave a message until the door had it.
    pub delivery_ms: Option<Spread>,
    /// From there until its rows were written, queues included.
    pub apply_ms: Option<Spread>,
}

/// Percentiles, right to a tenth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub p50: f64,
    /// Nine of ten are below.
    pub p90: f64,
    /// All but one of a hundred are below.
    pub p99: f64,
    /// How many there are.
    pub calls: i64,
    /// All together, exactly. None: of no use.
    pub total: Option<f64>,
}

/// How many events have a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// A type or a code.
    pub name: String,
    /// How many.
    pub events: i64,
}

/// An agent's calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentNumbers {
    /// Its id.
    pub id: AgentId,
    /// Its name.
    pub name: String,
    /// All calls. None: it had none.
    pub calls: Option<i64>,
    /// Those that were answered.
    pub connected: i64,
}

/// What the numbers of a period are read by.
#[derive(Clone, Copy, Debug, IntoStaticStr, PartialEq, Eq)]
#[strum(serialize_all = "kebab-case")]
pub enum By {
    /// For a day or two.
    Hour,
    /// For longer.
    Day,
}

/// The numbers of an org, of one agent or of all, from the beginning of the hour or the day of `since` until `until`.
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

/// Orgs, at most `limit`, whose log goes on after what is counted of it.
pub async fn find_orgs(database: &Database, limit: i32) -> Result<Vec<OrgId>, Failure> {
    let statement = "SELECT coalesce(jsonb_agg(o), '[]') FROM find_orgs_to_roll_up_v1($1) o";
    let Json(orgs) = database.query_one(statement, &[(&limit, Type::INT4)]).await?.try_get(0)?;
    Ok(orgs)
}

/// Counts further events of an org's log, at most `limit`. How many it were; 0: none, or somebody else is at it.
pub async fn roll_up(database: &Database, org: OrgId, limit: i32) -> Result<u64, Failure> {
    let row =
        database.query_one("SELECT roll_up_v1($1, $2)", &[(org.as_uuid(), Type::UUID), (&limit, Type::INT4)]).await?;
    Ok(u64::try_from(row.try_get::<_, i32>(0)?).unwrap_or_default())
}
