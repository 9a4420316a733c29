//! Changes by operators: orgs, keys, agents, leads and [`tools`], and their work on failures: [`failures`], [`replay`],
//! [`operations`] and [`erasure`]. Each change and its entry in the audit log are one transaction.
//!
//! Works over a connection of the database's owner, which acts as `ringfence_ops`. The functions that serve webhooks
//! have no such connection.

mod dead_letter;
pub mod erasure;
pub mod failures;
pub mod operations;
pub mod replay;
mod selection;
pub mod tools;

pub use dead_letter::DeadLetter;

use std::time::{Duration, Instant};

use ringfence_protocol::admin::{AddedAgent, Drift, NewAgent, Organization, Resolved, RetainedData};
use ringfence_vapi::{AgentId, LeadId, OrgId};
use serde_json::{Map, Value};
use tokio_postgres::Client;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use crate::connect::{Connector, DatabaseSettings};
use crate::error::Failure;
use crate::migrations::MigrationError;

/// The unresolved events of one page. An event takes some milliseconds.
const UNRESOLVED_PER_PAGE: i32 = 200;

/// The longest time for which a command applies unresolved events, because a person waits for the result.
pub const RESOLVE_LIMIT: Duration = Duration::from_secs(30);

pub struct Admin {
    client: Client,
    actor: String,
}

impl Admin {
    /// Connects as the database's owner and takes the role `ringfence_ops`. `actor` is the name in the audit log.
    pub async fn connect(settings: &DatabaseSettings, actor: impl Into<String>) -> Result<Self, MigrationError> {
        let client = Connector::new(settings)?.connect().await?;
        client.batch_execute("SET ROLE ringfence_ops").await.map_err(Failure::from)?;
        Ok(Self { client, actor: actor.into() })
    }

    /// Creates an org with version 1 of its key.
    pub async fn create_organization(&self, name: &str) -> Result<OrgId, Failure> {
        let id: Uuid = self.value("SELECT create_organization_v1($1, $2)", &[&self.actor, &name]).await?;
        Ok(OrgId::from(id))
    }

    /// All orgs, by name.
    pub async fn organizations(&self) -> Result<Vec<Organization>, Failure> {
        let statement = "SELECT o.id, o.name, max(k.version) AS key_version \
            FROM organizations o JOIN organization_keys k ON k.org_id = o.id \
            GROUP BY o.id, o.name ORDER BY o.name, o.id";
        let rows = self.client.query(statement, &[]).await?;
        rows.iter()
            .map(|row| {
                Ok(Organization {
                    id: OrgId::from(row.try_get::<_, Uuid>("id")?),
                    name: row.try_get("name")?,
                    key_version: row.try_get("key_version")?,
                })
            })
            .collect()
    }

    /// Adds a version of an org's key. The earlier versions stay valid for `overlap`. None: no such org.
    pub async fn rotate_key(&self, org_id: OrgId, overlap: Duration) -> Result<Option<i32>, Failure> {
        let statement = "SELECT rotate_organization_key_v1($1, $2, make_interval(secs => $3))";
        self.value(statement, &[&self.actor, org_id.as_uuid(), &overlap.as_secs_f64()]).await
    }

    /// Adds an agent, registers its ids for the platform URL, and applies the unresolved events that name them, for
    /// [`RESOLVE_LIMIT`].
    ///
    /// An id that another org registered violates `platform_directory_pkey`.
    pub async fn add_agent(&self, org_id: OrgId, agent: &NewAgent) -> Result<AddedAgent, Failure> {
        let id: Uuid = self
            .value(
                "SELECT add_agent_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                &[
                    &self.actor,
                    org_id.as_uuid(),
                    &agent.name,
                    &agent.role,
                    &agent.assistant_id,
                    &agent.squad_id,
                    &agent.phone_number_id,
                    &agent.phone_number,
                    &agent.is_default,
                    &Json(&agent.configuration),
                ],
            )
            .await?;
        let (id, until) = (AgentId::from(id), Instant::now() + RESOLVE_LIMIT);
        Ok(AddedAgent { id, events: self.apply_unresolved(Some(id), until).await? })
    }

    /// Records in the audit log that a token is about to be created, for an org or (None) for an operator. False: no
    /// such org.
    pub async fn record_token_mint(
        &self,
        purpose: &str,
        org_id: Option<OrgId>,
        lifetime: Duration,
    ) -> Result<bool, Failure> {
        let (org, seconds) = (org_id.map(|org| *org.as_uuid()), i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX));
        self.value("SELECT record_token_mint_v1($1, $2, $3, $4)", &[&self.actor, &purpose, &org, &seconds]).await
    }

    /// The newest version of an org's key. None: no such org.
    pub async fn key_version(&self, org_id: OrgId) -> Result<Option<i32>, Failure> {
        self.value("SELECT max(version) FROM organization_keys WHERE org_id = $1", &[org_id.as_uuid()]).await
    }

    /// An org's sealed API key at Vapi. None: the org has none.
    pub async fn vapi_key(&self, org_id: OrgId) -> Result<Option<String>, Failure> {
        self.value("SELECT max(api_key) FROM vapi_credentials WHERE org_id = $1", &[org_id.as_uuid()]).await
    }

    /// Records in the audit log that this many assistants and numbers of an org are about to be set up at Vapi.
    pub async fn record_connect(&self, org_id: OrgId, changes: usize) -> Result<(), Failure> {
        let detail = Json(serde_json::json!({"changes": changes}));
        let statement = "SELECT audit($1, 'vapi.connect', $2, $3, $4)";
        let parameters: [&(dyn ToSql + Sync); 4] = [&self.actor, org_id.as_uuid(), &org_id.to_string(), &detail];
        self.client.execute(statement, &parameters).await?;
        Ok(())
    }

    /// Message types and field names of all orgs that this version does not know, with their counts.
    pub async fn drift(&self) -> Result<Drift, Failure> {
        let Json(drift) = self.value("SELECT summarise_drift_v1()", &[]).await?;
        Ok(drift)
    }

    /// How far the database's clock is ahead of this machine's, in milliseconds, corrected by half the round trip.
    pub async fn clock_skew(&self) -> Result<i64, Failure> {
        let began = jiff::Timestamp::now();
        let theirs: jiff::Timestamp = self.value("SELECT clock_timestamp()", &[]).await?;
        let half = began.duration_until(jiff::Timestamp::now()) / 2;
        let skew = began.duration_until(theirs) - half;
        Ok(i64::try_from(skew.as_millis()).unwrap_or(i64::MAX))
    }

    /// Stores an org's sealed API key at Vapi, or deletes it. False: no such org.
    pub async fn set_vapi_key(&self, org_id: OrgId, sealed: Option<&str>) -> Result<bool, Failure> {
        self.value("SELECT set_vapi_key_v1($1, $2, $3)", &[&self.actor, org_id.as_uuid(), &sealed]).await
    }

    /// Sets whether Vapi retains no data of an org's calls. False: no such org.
    pub async fn set_zero_retention(&self, org_id: OrgId, is_zero: bool) -> Result<bool, Failure> {
        self.value("SELECT set_zero_retention_v1($1, $2, $3)", &[&self.actor, org_id.as_uuid(), &is_zero]).await
    }

    /// Sets after how many days data of an org is deleted (None: never). False: no such org.
    pub async fn set_retention(&self, org_id: OrgId, data: RetainedData, days: Option<i32>) -> Result<bool, Failure> {
        let statement = "SELECT set_retention_v1($1, $2, $3, $4)";
        self.value(statement, &[&self.actor, org_id.as_uuid(), &<&str>::from(data), &days]).await
    }

    /// Adds a lead. `phone` is E.164 and unique in the org.
    pub async fn add_lead(
        &self,
        org_id: OrgId,
        phone: &str,
        name: Option<&str>,
        metadata: &Map<String, Value>,
    ) -> Result<LeadId, Failure> {
        let statement = "SELECT add_lead_v1($1, $2, $3, $4, $5)";
        let id: Uuid = self.value(statement, &[&self.actor, org_id.as_uuid(), &phone, &name, &Json(metadata)]).await?;
        Ok(id.into())
    }

    /// Tries to apply the unresolved events that name an id of `agent` or whose call has a route; or (None) those that
    /// name an id that was registered within the last hour. Ends after the page that is being applied at `until`. The
    /// events of one call are applied in one transaction. A failed event stays unresolved and does not affect other calls.
    pub async fn apply_unresolved(&self, agent: Option<AgentId>, until: Instant) -> Result<Resolved, Failure> {
        let agent = agent.map(|agent| *agent.as_uuid());
        let mut resolved = Resolved::default();
        let mut after = 0_i64;
        loop {
            let statement = "SELECT * FROM find_resolvable_events_v1($1, $2, $3)";
            let rows = self.client.query(statement, &[&agent, &after, &UNRESOLVED_PER_PAGE]).await?;
            let ids = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
            let Some(last) = ids.last() else { return Ok(resolved) };
            after = *last;
            for id in &ids {
                if let Err(failure) = self.client.execute("SELECT apply_unresolved_event_v1($1)", &[id]).await {
                    let failure = Failure::from(failure);
                    tracing::error!(unresolved.id = id, %failure, "an unresolved event was not applied");
                    resolved.failed += 1;
                }
            }
            // The first event of a call applies the others as well, so the applied events are those whose rows are gone.
            let left: i64 = self.value("SELECT count(*) FROM unresolved_events WHERE id = ANY ($1)", &[&ids]).await?;
            resolved.applied += (ids.len() as u64).saturating_sub(left.unsigned_abs());
            if Instant::now() > until {
                resolved.more = ids.len() == usize::try_from(UNRESOLVED_PER_PAGE).unwrap_or_default();
                return Ok(resolved);
            }
        }
    }

    async fn value<T>(&self, statement: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<T, Failure>
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        Ok(self.client.query_one(statement, parameters).await?.try_get(0)?)
    }
}
