//! Participants of simulated calls: an agent, leads, and callers who are not leads.

use std::collections::BTreeMap;

use admin::Administration;
use jiff::Timestamp;
use ringfence_protocol::admin::{Command, NewAgent};
use ringfence_vapi::OrgId;
use serde_json::Map;
use tokio_postgres::Client;
use uuid::Uuid;

use ringfence_harness::error::{Context, Result};

/// Vapi's id of the assistant.
pub const ASSISTANT_ID: &str = "5f0c1e0a-51a7-4e0b-9f57-5111a7edca11";
/// Number of the assistant. It is not registered, so any org may register it.
pub(super) const OUR_NUMBER: &str = "+12025550100";
/// Numbers of leads. There are fewer leads than calls, so that several calls update the same lead.
pub(super) const LEADS: [&str; 4] = ["+12025550111", "+12025550112", "+12025550113", "+12025550114"];
/// Numbers of callers that are not leads of the org.
pub(super) const STRANGERS: [&str; 4] = ["+12025550161", "+12025550162", "+12025550163", "+12025550164"];

const ACTOR: &str = "cargo ringfence";

/// Participants as the org has them before the calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Cast {
    pub(super) agent: Option<Uuid>,
    /// Leads by number.
    pub(super) leads: BTreeMap<String, Lead>,
}

/// A lead before the calls.
#[derive(Clone, Debug)]
pub(super) struct Lead {
    pub(super) id: Uuid,
    pub(super) status: String,
    pub(super) last_contacted_at: Option<Timestamp>,
}

impl Cast {
    /// Finds the participants among an org's agents and leads.
    pub(super) async fn find(client: &Client, org: OrgId) -> Result<Self> {
        const AGENT: &str =
            "SELECT id FROM agents WHERE org_id = $1 AND vapi_assistant_id = $2 ORDER BY created_at, id LIMIT 1";
        const LEADS_OF: &str =
            "SELECT phone, id, status, last_contacted_at FROM leads WHERE org_id = $1 AND phone = ANY ($2)";
        let agent = client.query_opt(AGENT, &[org.as_uuid(), &ASSISTANT_ID]).await.context("look for the agent")?;
        let numbers: Vec<&str> = LEADS.into_iter().chain(STRANGERS).collect();
        let leads = client.query(LEADS_OF, &[org.as_uuid(), &numbers]).await.context("look for the leads")?;
        let lead = |row: &tokio_postgres::Row| {
            let lead = Lead { id: row.get(1), status: row.get(2), last_contacted_at: row.get(3) };
            (row.get(0), lead)
        };
        Ok(Self { agent: agent.map(|row| row.get(0)), leads: leads.iter().map(lead).collect() })
    }

    /// Adds the missing participants to the org.
    pub(super) async fn add_missing(
        &self,
        administration: &Administration,
        org_id: OrgId,
        with_agent: bool,
    ) -> Result<()> {
        let is_missing = |phone: &&str| !self.leads.contains_key(*phone);
        let add_lead = |phone: &str| {
            let (actor, phone) = (ACTOR.to_owned(), phone.to_owned());
            Command::AddLead { actor, org_id, phone, name: None, metadata: Map::new() }
        };
        let leads = LEADS.into_iter().filter(is_missing).map(add_lead);
        let is_agent_missing = with_agent && self.agent.is_none();
        let agent = is_agent_missing.then(|| Command::AddAgent { actor: ACTOR.to_owned(), org_id, agent: agent() });
        for act in leads.chain(agent) {
            administration.perform(act).await.context("add the agent and the leads of the simulation")?;
        }
        Ok(())
    }
}

fn agent() -> NewAgent {
    NewAgent {
        name: "Simulated front desk".to_owned(),
        role: "inbound".to_owned(),
        assistant_id: Some(ASSISTANT_ID.to_owned()),
        ..NewAgent::default()
    }
}
