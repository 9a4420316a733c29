//! Agents' configuration and tools.

use ringfence_protocol::admin::{ListedAgent, NewAgent, Tool, ToolKind};
use ringfence_vapi::OrgId;
use serde_json::Value;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::Admin;
use crate::error::Failure;

impl Admin {
    /// The agents of an org, the oldest first.
    pub async fn agents(&self, org_id: OrgId) -> Result<Vec<ListedAgent>, Failure> {
        let statement =
            "SELECT id, name, role, vapi_assistant_id, vapi_squad_id, vapi_phone_number_id, phone_number, is_default,
            configuration FROM agents WHERE org_id = $1 ORDER BY created_at, id";
        let rows = self.client.query(statement, &[&org_id.0]).await?;
        rows.iter()
            .map(|row| {
                let Json(configuration) = row.try_get("configuration")?;
                let agent = NewAgent {
                    name: row.try_get("name")?,
                    role: row.try_get("role")?,
                    assistant_id: row.try_get("vapi_assistant_id")?,
                    squad_id: row.try_get("vapi_squad_id")?,
                    phone_number_id: row.try_get("vapi_phone_number_id")?,
                    phone_number: row.try_get("phone_number")?,
                    is_default: row.try_get("is_default")?,
                    configuration,
                };
                Ok(ListedAgent { id: row.try_get("id")?, agent })
            })
            .collect()
    }

    /// Changes whether an agent is its org's default, and replaces its configuration. None keeps the current value.
    /// False: no such agent.
    pub async fn configure_agent(
        &self,
        org_id: OrgId,
        agent: Uuid,
        is_default: Option<bool>,
        configuration: Option<&Value>,
    ) -> Result<bool, Failure> {
        let statement = "SELECT configure_agent_v1($1, $2, $3, $4, $5)";
        self.value(statement, &[&self.actor, &org_id.0, &agent, &is_default, &configuration]).await
    }

    /// Changes a lead's name and metadata. None keeps the current value. Returns the lead's id; None: no such lead.
    pub async fn change_lead(
        &self,
        org_id: OrgId,
        phone: &str,
        name: Option<&str>,
        metadata: Option<&Value>,
    ) -> Result<Option<Uuid>, Failure> {
        let statement = "SELECT change_lead_v1($1, $2, $3, $4, $5)";
        self.value(statement, &[&self.actor, &org_id.0, &phone, &name, &metadata]).await
    }

    /// The tools of an org, by kind and name.
    pub async fn tools(&self, org_id: OrgId) -> Result<Vec<Tool>, Failure> {
        let statement = "SELECT kind, name, endpoint, timeout_seconds, is_idempotent FROM tools WHERE org_id = $1
            ORDER BY kind, name";
        let rows = self.client.query(statement, &[&org_id.0]).await?;
        rows.iter()
            .map(|row| {
                let kind = row.try_get::<_, &str>("kind")?.parse().map_err(|_| Failure::unknown_outcome())?;
                Ok(Tool {
                    kind,
                    name: row.try_get("name")?,
                    endpoint: row.try_get("endpoint")?,
                    timeout_seconds: row.try_get("timeout_seconds")?,
                    is_idempotent: row.try_get("is_idempotent")?,
                })
            })
            .collect()
    }

    /// Registers a tool. A tool of the same kind and name is replaced.
    pub async fn set_tool(&self, org_id: OrgId, tool: &Tool) -> Result<(), Failure> {
        let Tool { kind, name, endpoint, timeout_seconds, is_idempotent } = tool;
        let statement = "SELECT set_tool_v1($1, $2, $3, $4, $5, $6, $7)";
        let kind = <&str>::from(kind);
        self.client
            .execute(statement, &[&self.actor, &org_id.0, &kind, name, endpoint, timeout_seconds, is_idempotent])
            .await?;
        Ok(())
    }

    /// Deletes a tool. False: no such tool.
    pub async fn remove_tool(&self, org_id: OrgId, kind: ToolKind, name: &str) -> Result<bool, Failure> {
        self.value("SELECT remove_tool_v1($1, $2, $3, $4)", &[&self.actor, &org_id.0, &<&str>::from(kind), &name]).await
    }

    /// Records in the audit log that the secret which signs messages to an org's endpoints is shown. False: no such
    /// org.
    pub async fn record_tool_secret_view(&self, org_id: OrgId) -> Result<bool, Failure> {
        self.value("SELECT record_tool_secret_view_v1($1, $2)", &[&self.actor, &org_id.0]).await
    }

    /// Closes the failed operation of an interrupted tool call after a person has found out whether the endpoint
    /// performed it. False: no such open failure.
    pub async fn settle_tool_call(&self, org_id: OrgId, event_id: &str) -> Result<bool, Failure> {
        self.value("SELECT settle_tool_call_v1($1, $2, $3)", &[&self.actor, &org_id.0, &event_id]).await
    }
}
