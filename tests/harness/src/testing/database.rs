//! A fresh database per test, cloned from a migrated template. Tests use the functions' role, so that row-level
//! security applies.

use std::sync::Arc;

use ringfence_core::admin::Admin;
use ringfence_core::{Database, DatabaseSettings, Outcome, Timeouts, apply_event, migrations};
use ringfence_protocol::admin::NewAgent;
use ringfence_vapi::{AgentId, LeadId, OrgId};
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tokio_postgres::{Client, Config, NoTls};
use uuid::Uuid;

use super::call::delivery;
use super::setting;

/// Password of `ringfence_app` in the tests.
pub const APP_PASSWORD: &str = "app";

/// A migrated database for one test.
pub struct TestDatabase {
    /// Name of the database on the server.
    pub name: String,
}

impl TestDatabase {
    /// Clones the template. The first test of the process migrates the template.
    pub async fn new() -> Self {
        static TEMPLATE: OnceCell<String> = OnceCell::const_new();
        let template = TEMPLATE.get_or_init(make_template).await;
        let name = format!("test_{}", Uuid::new_v4().simple());
        let statement = format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy");
        let server = connect(&server()).await;
        server.batch_execute(&statement).await.expect("a clone");
        // A clone does not have the privileges that the migration revokes on the template itself.
        server.batch_execute(&format!("REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC")).await.expect("revoked");
        Self { name }
    }

    /// A database without any migration.
    pub async fn empty() -> Self {
        let name = format!("test_{}", Uuid::new_v4().simple());
        connect(&server()).await.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database");
        Self { name }
    }

    /// Applies the missing migrations.
    pub async fn migrate(&self) {
        let _turn = turn_to_migrate().await;
        migrations::run(&self.owner_settings(), APP_PASSWORD).await.expect("the migrations apply");
    }

    /// URL of a role at `host:port`, or at the server itself if none is given.
    #[must_use]
    pub fn url(&self, role: &str, at: Option<&str>) -> String {
        let server = server();
        let direct = format!("{}:{}", host(&server), server.get_ports()[0]);
        format!("postgres://{role}:{APP_PASSWORD}@{}/{}", at.unwrap_or(&direct), self.name)
    }

    /// Settings of the role that migrates.
    #[must_use]
    pub fn owner_settings(&self) -> DatabaseSettings {
        DatabaseSettings::new(self.url("postgres", None), None)
    }

    /// The database as the functions use it, over its own connection.
    #[must_use]
    pub fn app(&self) -> Arc<Database> {
        self.app_at(None)
    }

    /// The database as the functions use it, through a proxy or pooler at `host:port`.
    #[must_use]
    pub fn app_at(&self, at: Option<&str>) -> Arc<Database> {
        self.app_with(at, Timeouts::default())
    }

    /// Like [`TestDatabase::app_at`], with other timeouts.
    #[must_use]
    pub fn app_with(&self, at: Option<&str>, timeouts: Timeouts) -> Arc<Database> {
        let settings = DatabaseSettings { timeouts, ..DatabaseSettings::new(self.url("ringfence_app", at), None) };
        Arc::new(Database::new(&settings).expect("usable settings"))
    }

    /// A plain connection as a role.
    pub async fn client(&self, role: &str) -> Client {
        connect(&self.url(role, None).parse().expect("a URL")).await
    }

    /// A plain connection as the superuser.
    pub async fn superuser(&self) -> Client {
        self.client("postgres").await
    }

    /// The administrator.
    pub async fn admin(&self) -> Admin {
        Admin::connect(&self.owner_settings(), "test").await.expect("an administrator")
    }

    /// Creates an org.
    pub async fn org(&self, name: &str) -> OrgId {
        self.admin().await.create_organization(name).await.expect("an org")
    }

    /// Creates a lead.
    pub async fn lead(&self, org: OrgId, phone: &str) -> LeadId {
        self.admin().await.add_lead(org, phone, Some("A lead"), &serde_json::Map::new()).await.expect("a lead")
    }

    /// Creates an agent with an assistant.
    pub async fn agent(&self, org: OrgId, assistant: &str) -> AgentId {
        let agent = NewAgent {
            name: "An agent".to_owned(),
            role: "inbound".to_owned(),
            assistant_id: Some(assistant.to_owned()),
            ..NewAgent::default()
        };
        self.admin().await.add_agent(org, &agent).await.expect("an agent").id
    }

    /// Applies bodies one after another, as the webhook function does for this org.
    pub async fn apply(&self, org: OrgId, bodies: &[Value]) -> Vec<Outcome> {
        let database = self.app();
        let mut outcomes = Vec::new();
        for body in bodies {
            outcomes.push(apply(&database, org, body).await);
        }
        outcomes
    }

    /// Value of a query's only row and column as text. The superuser runs the query.
    pub async fn text(&self, query: &str) -> Option<String> {
        self.superuser().await.query_one(&format!("SELECT ({query})::text"), &[]).await.expect(query).get(0)
    }

    /// Counts rows as the superuser: `count("call_logs WHERE status = 'completed'")`.
    pub async fn count(&self, from: &str) -> i64 {
        let statement = format!("SELECT count(*) FROM {from}");
        self.superuser().await.query_one(&statement, &[]).await.expect(from).get(0)
    }

    /// Rows that each org's events created, as JSON. Equal texts mean equal rows. Surrogate ids, receipt times and the
    /// org's id are omitted; for agent and lead it contains only whether they are linked.
    pub async fn rows_by_org(&self) -> Vec<(OrgId, String)> {
        let every: Option<Uuid> = None;
        let rows = self.superuser().await.query(ROWS_BY_ORG, &[&every]).await.expect("the rows");
        rows.iter().map(|row| (OrgId::from(row.get::<_, Uuid>(0)), row.get(1))).collect()
    }

    /// Rows that one org's events created.
    pub async fn rows_of(&self, org: OrgId) -> String {
        self.superuser().await.query_one(ROWS_BY_ORG, &[&Some(*org.as_uuid())]).await.expect("the org's rows").get(1)
    }
}

const ROWS_BY_ORG: &str = "
WITH stripped AS (
    SELECT 'call_logs' AS table_name, org_id, vapi_call_id AS position, to_jsonb(t) || jsonb_build_object('agent_id', agent_id IS NOT NULL, 'lead_id', lead_id IS NOT NULL) AS row FROM call_logs t
    UNION ALL SELECT 'call_tracking', org_id, vapi_call_id, to_jsonb(t) || jsonb_build_object('agent_id', agent_id IS NOT NULL, 'lead_id', lead_id IS NOT NULL) FROM call_tracking t
    UNION ALL SELECT 'calls', org_id, vapi_call_id, to_jsonb(t) FROM calls t
    UNION ALL SELECT 'call_transcripts', org_id, vapi_call_id || content_sha256::text, to_jsonb(t) - 'call_log_id' FROM call_transcripts t
    UNION ALL SELECT 'recordings', org_id, vapi_call_id || kind, to_jsonb(t) - '{call_log_id,next_attempt_at,link}'::text[] FROM recording_upload_queue t
    UNION ALL SELECT 'leads', org_id, phone, to_jsonb(t) FROM leads t
    UNION ALL SELECT 'claims', org_id, event_id, to_jsonb(t) - '{seq,xact,received_at,processed_at}'::text[] FROM processed_webhook_events t
        WHERE event_type <> 'operation-failed'
)
SELECT o.id, coalesce(jsonb_pretty(jsonb_agg(
        jsonb_build_object(table_name, row - '{id,org_id,created_at,updated_at}'::text[]) ORDER BY table_name, position)
    FILTER (WHERE table_name IS NOT NULL)), '[]')
FROM organizations o LEFT JOIN stripped ON org_id = o.id
WHERE o.id = coalesce($1, o.id)
GROUP BY o.id ORDER BY o.id";

/// Applies a body for an org over a given connection.
pub async fn apply(database: &Database, org: OrgId, body: &Value) -> Outcome {
    try_apply(database, org, body).await.expect("the event applies")
}

/// Like [`apply`], but returns the failure.
pub async fn try_apply(
    database: &Database,
    org: OrgId,
    body: &Value,
) -> Result<Outcome, ringfence_core::error::Failure> {
    apply_event(database, &delivery(org, body)).await
}

/// Lock for a test that migrates by itself. Each migration changes roles, which belong to the whole server, so
/// concurrent migrations of two databases would conflict.
pub async fn turn_to_migrate() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

async fn make_template() -> String {
    let template = TestDatabase::empty().await;
    template.migrate().await;
    template.name
}

fn server() -> Config {
    setting("RINGFENCE_TEST_DATABASE_URL").parse().expect("a PostgreSQL URL")
}

fn host(server: &Config) -> String {
    match &server.get_hosts()[0] {
        tokio_postgres::config::Host::Tcp(host) => host.clone(),
        other @ tokio_postgres::config::Host::Unix(_) => panic!("the tests reach PostgreSQL over TCP, not {other:?}"),
    }
}

async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}
