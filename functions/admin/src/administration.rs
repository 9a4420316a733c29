//! Performs the commands. Only this function and `console-commands` have the credentials of the database's owner.

use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use jiff::Timestamp;
use ringfence_aws::Queue;
use ringfence_core::admin::{Admin, RESOLVE_LIMIT};
use ringfence_core::migrations::{self, MigrationError};
use ringfence_egress::vapi_api::VAPI_API;
use ringfence_egress::{EgressClient, VapiApi};
use ringfence_identity::{Audience, ConsoleClaims, MasterKeys, MintError, Scope, Subject};
use ringfence_protocol::admin::{Command, MAX_TOKEN_LIFETIME, OrganizationKey, Reply, Resolved, Secret};
use ringfence_runtime::{Environment, FunctionQueues, Misconfigured};
use ringfence_vapi::OrgId;
use ringfence_vapi::interactive::Configuration;
use serde_json::{Map, Value, json};

use crate::error::CommandError;
use crate::operations::{Operations, READER};

/// What administration works with.
pub struct Administration {
    app_password: String,
    pub(crate) masters: MasterKeys,
    pub(crate) base_url: String,
    pub(crate) operations: Operations,
    pub(crate) vapi: VapiApi,
    /// The dead-letter queue of each function that has one.
    dead_letters: Vec<(String, Queue)>,
}

impl Administration {
    /// From `RINGFENCE_APP_PASSWORD`, `RINGFENCE_MASTER_KEYS`, `PUBLIC_BASE_URL` and the variables of [`Operations::from_environment`].
    pub fn from_environment(
        environment: &Environment<'_>,
        sqs: &Client,
        s3: aws_sdk_s3::Client,
    ) -> Result<Self, Misconfigured> {
        let vapi = VapiApi::new(EgressClient::new(environment.egress_policy()?), VAPI_API);
        let masters = environment.master_keys()?;
        Ok(Self {
            app_password: environment.required("RINGFENCE_APP_PASSWORD")?,
            masters: masters.clone(),
            base_url: environment.required("PUBLIC_BASE_URL")?,
            operations: Operations::from_environment(environment, sqs, s3)?.with_masters(masters),
            vapi,
            dead_letters: FunctionQueues::all_dead_letters(environment, sqs)?,
        })
    }

    /// The same, with another limit on the work of one invocation.
    #[must_use]
    pub fn with_work_limit(self, work_limit: Duration) -> Self {
        Self { operations: self.operations.with_work_limit(work_limit), ..self }
    }

    /// Performs a command.
    #[expect(clippy::too_many_lines, reason = "a line or two for each command")]
    pub async fn perform(&self, command: Command) -> Result<Reply, CommandError> {
        Ok(match command {
            Command::Migrate => Reply::Migrated { applied: self.migrate().await? },
            Command::Verify => Reply::Verified { findings: migrations::verify(self.operations.database()).await? },
            Command::CreateOrganization { actor, name } => {
                let id = self.admin(actor).await?.create_organization(&name).await?;
                Reply::Organization(self.key(id, 1))
            }
            Command::ListOrganizations { actor } => {
                Reply::Organizations { organizations: self.admin(actor).await?.organizations().await? }
            }
            Command::RotateKey { actor, org_id, overlap_seconds } => {
                let overlap = Duration::from_secs(overlap_seconds);
                let version =
                    self.admin(actor).await?.rotate_key(org_id, overlap).await?.ok_or(CommandError::NoSuchOrg)?;
                Reply::Organization(self.key(org_id, version))
            }
            Command::AddAgent { actor, org_id, agent } => {
                check(&agent.configuration)?;
                Reply::Agent(self.admin(actor).await?.add_agent(org_id, &agent).await?)
            }
            Command::AddLead { actor, org_id, phone, name, metadata } => {
                let admin = self.admin(actor).await?;
                Reply::Lead { id: admin.add_lead(org_id, &phone, name.as_deref(), &metadata).await? }
            }
            Command::ChangeLead { actor, org_id, phone, name, metadata } => {
                let admin = self.admin(actor).await?;
                let metadata = metadata.map(Value::Object);
                let changed = admin.change_lead(org_id, &phone, name.as_deref(), metadata.as_ref()).await?;
                Reply::Lead { id: changed.ok_or(CommandError::NoSuch("lead"))? }
            }
            Command::ListAgents { org_id } => {
                Reply::Agents { agents: self.admin(READER.to_owned()).await?.agents(org_id).await? }
            }
            Command::ConfigureAgent { actor, org_id, agent_id, is_default, configuration } => {
                configuration.as_ref().map_or(Ok(()), check)?;
                let admin = self.admin(actor).await?;
                let configuration = configuration.map(Value::Object);
                let found = admin.configure_agent(org_id, agent_id, is_default, configuration.as_ref()).await?;
                done(found, "agent")?
            }
            Command::ListTools { org_id } => {
                Reply::Tools { tools: self.admin(READER.to_owned()).await?.tools(org_id).await? }
            }
            Command::SetTool { actor, org_id, tool } => {
                self.admin(actor).await?.set_tool(org_id, &tool).await?;
                Reply::Done {}
            }
            Command::RemoveTool { actor, org_id, kind, name } => {
                done(self.admin(actor).await?.remove_tool(org_id, kind, &name).await?, "tool")?
            }
            Command::ShowToolSecret { actor, org_id } => {
                if !self.admin(actor).await?.record_tool_secret_view(org_id).await? {
                    return Err(CommandError::NoSuchOrg);
                }
                Reply::ToolSecret { secret: self.masters.endpoint_secrets().newest(org_id).expose() }
            }
            Command::SetVapiKey { actor, org_id, key } => {
                let sealed = key.map(|key| self.seal_vapi_key(org_id, &key)).transpose()?;
                of_known_org(self.admin(actor).await?.set_vapi_key(org_id, sealed.as_deref()).await?)?
            }
            Command::SetRetention { actor, org_id, data, days } => {
                of_known_org(self.admin(actor).await?.set_retention(org_id, data, days).await?)?
            }
            Command::SetZeroRetention { actor, org_id, is_zero } => {
                of_known_org(self.admin(actor).await?.set_zero_retention(org_id, is_zero).await?)?
            }
            Command::Connect { actor, org_id, run } => {
                Reply::Connected(Box::pin(self.connect(actor, org_id, run)).await?)
            }
            Command::Inspect {} => self.inspect().await?,
            Command::Erase { actor, org_id, target, run } => {
                Reply::Erased(Box::pin(self.erase(actor, org_id, &target, run)).await?)
            }
            Command::SettleToolCall { actor, org_id, event_id } => {
                let found = self.admin(actor).await?.settle_tool_call(org_id, &event_id).await?;
                done(found, "open failure of a tool call")?
            }
            Command::MintToken { actor, org_id, lifetime_seconds } => {
                let lifetime = self.record_token_mint(&actor, Audience::Live, Some(org_id), lifetime_seconds).await?;
                let (token, claims) = self.masters.live_tokens().mint(org_id, &actor, lifetime, Timestamp::now())?;
                Reply::Token { token, expires_at: claims.expires_at }
            }
            Command::MintConsoleToken { actor, org_id, lifetime_seconds } => {
                let lifetime = self.record_token_mint(&actor, Audience::Console, org_id, lifetime_seconds).await?;
                let scope = org_id.map_or(Scope::Operator, Scope::Org);
                let (token, claims) = self.console_token(scope, &actor, lifetime)?;
                let link = format!("{}/console/sign-in#token={token}", self.base_url);
                Reply::Console { link, expires_at: claims.expires_at }
            }
            Command::ListFailures { selection, resolved, limit } => {
                let admin = self.admin(READER.to_owned()).await?;
                Reply::Failures { operations: admin.failed_operations(&selection, resolved, limit).await? }
            }
            Command::CountRedrive { selection } => {
                Reply::DeadLetters(Box::pin(self.operations.count_redrive(&selection)).await?)
            }
            Command::StartRedrive { actor, id, selection, per_second, before } => {
                let started = self.operations.start_redrive(actor, id, selection, per_second, before);
                Reply::Operation(Box::pin(started).await?)
            }
            Command::CountReplay { kind, selection } => {
                let admin = self.admin(READER.to_owned()).await?;
                Reply::Count { events: admin.count_replayable(kind, &selection).await? }
            }
            Command::StartReplay { actor, id, kind, selection, per_second } => {
                let started = self.operations.start_replay(actor, id, kind, selection, per_second);
                Reply::Operation(Box::pin(started).await?)
            }
            Command::ContinueOperations {} => {
                let operations = Box::pin(self.operations.resume()).await?;
                let admin = self.admin(READER.to_owned()).await?;
                let Resolved { applied, failed, more } =
                    admin.apply_unresolved(None, Instant::now() + RESOLVE_LIMIT).await?;
                if applied + failed > 0 {
                    tracing::info!(applied, failed, more, "unresolved events applied");
                }
                Reply::Operations { operations }
            }
            Command::ListOperations { id, org_id, limit } => {
                let admin = self.admin(READER.to_owned()).await?;
                Reply::Operations { operations: admin.operations(id, org_id, limit).await? }
            }
        })
    }

    /// Brings the schema up to date; names what was applied.
    pub async fn migrate(&self) -> Result<Vec<String>, MigrationError> {
        let applied = migrations::run(self.operations.database(), &self.app_password).await?;
        tracing::info!(
            migrations.applied = applied.len(),
            migrations.newest = migrations::newest_version(),
            "migrated"
        );
        Ok(applied)
    }

    /// Gives `ringfence_app` the password of this release again. A failure is in the log: who calls this cannot do anything about it.
    pub(crate) async fn restore_password(&self) {
        match migrations::set_app_password(self.operations.database(), &self.app_password).await {
            Ok(()) => tracing::info!("password restored"),
            Err(error) => tracing::error!(%error, "the password could not be restored"),
        }
    }

    pub(crate) async fn admin(&self, actor: String) -> Result<Admin, MigrationError> {
        self.operations.admin(actor).await
    }

    async fn inspect(&self) -> Result<Reply, CommandError> {
        let mut dead_letters = Vec::new();
        for (function, inspected) in &self.dead_letters {
            dead_letters.push((function.clone(), inspected.depth().await?.waiting));
        }
        let admin = self.admin(READER.to_owned()).await?;
        let (clock_skew_ms, drift) = (admin.clock_skew().await?, admin.drift().await?);
        Ok(Reply::Inspected { dead_letters, clock_skew_ms, drift })
    }

    /// Writes the token to the audit log before it is created. Returns its lifetime.
    async fn record_token_mint(
        &self,
        actor: &str,
        audience: Audience,
        org_id: Option<OrgId>,
        lifetime_seconds: u64,
    ) -> Result<Duration, CommandError> {
        let lifetime = Duration::from_secs(lifetime_seconds).min(MAX_TOKEN_LIFETIME);
        let is_recorded =
            self.admin(actor.to_owned()).await?.record_token_mint(audience.as_str(), org_id, lifetime).await?;
        if is_recorded { Ok(lifetime) } else { Err(CommandError::NoSuchOrg) }
    }

    fn console_token(
        &self,
        scope: Scope,
        holder: &str,
        lifetime: Duration,
    ) -> Result<(String, ConsoleClaims), MintError> {
        self.masters.console_token_minter()?.mint(scope, holder, lifetime, Timestamp::now())
    }

    fn seal_vapi_key(&self, org_id: OrgId, key: &Secret) -> Result<String, CommandError> {
        let key = key.expose();
        let is_key = (8..=200).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        let sealed = is_key.then(|| self.masters.api_key_sealer().seal(org_id, key));
        sealed.and_then(Result::ok).ok_or(CommandError::NotAKey)
    }

    fn key(&self, id: OrgId, key_version: i32) -> OrganizationKey {
        OrganizationKey {
            id,
            key: self.masters.mint(Subject::Org(id), key_version).expose().to_owned(),
            key_version,
            webhook_url: format!("{}/vapi/{id}", self.base_url),
        }
    }
}

/// Whether Vapi would understand what an agent is to answer.
fn check(configuration: &Map<String, Value>) -> Result<(), CommandError> {
    Ok(Configuration::from_json(&json!(configuration).to_string()).map(drop)?)
}

fn of_known_org(found: bool) -> Result<Reply, CommandError> {
    if found { Ok(Reply::Done {}) } else { Err(CommandError::NoSuchOrg) }
}

fn done(found: bool, what: &'static str) -> Result<Reply, CommandError> {
    if found { Ok(Reply::Done {}) } else { Err(CommandError::NoSuch(what)) }
}
