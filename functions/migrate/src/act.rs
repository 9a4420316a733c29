//! The acts of administration, as `cargo ringfence` sends them: the same on a local stack and on a deployed one.

use std::time::Duration;

use aws_sdk_sqs::Client;
use jiff::Timestamp;
use ringfence_core::admin::Kept;
use ringfence_core::admin::failures::FailedOperation;
use ringfence_core::admin::replay::{Cursor, Replayable, Replayed};
use ringfence_core::admin::tools::{ListedAgent, Tool, ToolKind};
use ringfence_core::admin::{AddedAgent, Admin, NewAgent, Selection};
use ringfence_core::error::Failure;
use ringfence_core::migrations::{self, Finding, MigrationError};
use ringfence_core::{ConfigurationError, DatabaseSettings};
use ringfence_edge::keys::Subject;
use ringfence_edge::tokens::{InvalidToken, MAX_LIFETIME};
use ringfence_edge::{
    Audience, Environment, FunctionQueues, MasterKeys, Misconfigured, Parking, QueueError, Scope, Sealer, Tokens,
    VapiApi,
};
use ringfence_vapi::interactive::{Configuration, InvalidConfiguration};
use ringfence_vapi::{FailureCode, Function, OrgId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::connect::Connection;
use crate::erase::{Erase, Erasure};
use crate::redrive::{Manner, Redrive, Redriven};

/// Who reads: nothing is changed, so nobody is named in the audit log.
const READER: &str = "reader";

/// One act. `actor` is who the audit log names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub enum Act {
    /// Bring the schema up to date.
    Migrate,
    /// Run `verify.sql`.
    Verify,
    /// A new org.
    CreateOrganization {
        /// Who acts.
        actor: String,
        /// The org's name.
        name: String,
    },
    /// All orgs.
    ListOrganizations {
        /// Who acts.
        actor: String,
    },
    /// The next version of an org's key.
    RotateKey {
        /// Who acts.
        actor: String,
        /// Whose key.
        org_id: OrgId,
        /// How long the earlier versions count.
        overlap_seconds: u64,
    },
    /// A new agent.
    AddAgent {
        /// Who acts.
        actor: String,
        /// Its org.
        org_id: OrgId,
        /// The agent.
        agent: NewAgent,
    },
    /// A new lead.
    AddLead {
        /// Who acts.
        actor: String,
        /// Its org.
        org_id: OrgId,
        /// E.164.
        phone: String,
        /// The lead's name.
        name: Option<String>,
        /// The org's own.
        #[serde(default)]
        metadata: Map<String, Value>,
    },
    /// Another name or other metadata for a lead.
    ChangeLead {
        /// Who acts.
        actor: String,
        /// Its org.
        org_id: OrgId,
        /// E.164.
        phone: String,
        /// The lead's name; absent: as it is.
        name: Option<String>,
        /// The org's own; absent: as it is.
        metadata: Option<Map<String, Value>>,
    },
    /// The agents of an org.
    ListAgents {
        /// The org.
        org_id: OrgId,
    },
    /// Another configuration for an agent.
    ConfigureAgent {
        /// Who acts.
        actor: String,
        /// Its org.
        org_id: OrgId,
        /// Its id.
        agent_id: Uuid,
        /// Whether it answers the numbers that no agent names; absent: as it is.
        is_default: Option<bool>,
        /// What it answers beyond its ids; absent: as it is.
        configuration: Option<Map<String, Value>>,
    },
    /// The tools of an org.
    ListTools {
        /// The org.
        org_id: OrgId,
    },
    /// A tool, new or in the place of one of the same name.
    SetTool {
        /// Who acts.
        actor: String,
        /// Its org.
        org_id: OrgId,
        /// The tool.
        tool: Tool,
    },
    /// A tool less.
    RemoveTool {
        /// Who acts.
        actor: String,
        /// Its org.
        org_id: OrgId,
        /// What it is.
        kind: ToolKind,
        /// Its name.
        name: String,
    },
    /// The secret that signs messages to an org's endpoints.
    ShowToolSecret {
        /// Who acts.
        actor: String,
        /// The org.
        org_id: OrgId,
    },
    /// An org's API key at Vapi, or none any more.
    SetVapiKey {
        /// Who acts.
        actor: String,
        /// The org.
        org_id: OrgId,
        /// The key: a secret, kept sealed. Absent: none.
        key: Option<Secret>,
    },
    /// How long something of an org is kept.
    SetRetention {
        /// Who acts.
        actor: String,
        /// The org.
        org_id: OrgId,
        /// What.
        kept: Kept,
        /// Days. Absent: for ever, which events cannot be.
        days: Option<i32>,
    },
    /// Whether Vapi keeps nothing of an org's calls.
    SetZeroRetention {
        /// Who acts.
        actor: String,
        /// The org.
        org_id: OrgId,
        /// Whether it does not.
        is_zero: bool,
    },
    /// How an org's assistants and numbers are set up at Vapi, and setting that right.
    Connect {
        /// Who acts.
        actor: String,
        /// The org.
        org_id: OrgId,
        /// False: only look.
        run: bool,
    },
    /// What the deployment looks like from inside: queues and clocks.
    Inspect {},
    /// What is known of a call, or of all calls with a number, and its removal from everywhere.
    Erase {
        /// Who acts.
        actor: String,
        /// The org.
        org_id: OrgId,
        /// What.
        erase: Erase,
        /// False: count only.
        run: bool,
    },
    /// Close the failure of a tool call whose fate people have found out.
    SettleToolCall {
        /// Who acts.
        actor: String,
        /// Its org.
        org_id: OrgId,
        /// The execution's id.
        event_id: String,
    },
    /// A token that watches an org's calls.
    MintToken {
        /// Who acts.
        actor: String,
        /// The org.
        org_id: OrgId,
        /// How long it counts, at most twelve hours.
        lifetime_seconds: u64,
    },
    /// A link that signs in to the console.
    MintConsoleToken {
        /// Who acts, and whom the audit log will name for what is done there.
        actor: String,
        /// The org whose pages it opens; absent: all orgs', for an operator.
        org_id: Option<OrgId>,
        /// How long it counts, at most twelve hours.
        lifetime_seconds: u64,
    },
    /// Failed operations.
    ListFailures {
        /// Which.
        selection: Selection,
        /// Those that were resolved as well.
        resolved: bool,
        /// How many at the most, the latest first.
        limit: i64,
    },
    /// From the dead-letter queues back to the retry queues.
    Redrive {
        /// Who acts.
        actor: String,
        /// What.
        selection: Selection,
        /// False: count only.
        run: bool,
        /// Messages in a second, at most.
        per_second: u32,
        /// Leave what became a dead letter later; absent: later than now. A redrive that goes on names the time of its first act.
        #[serde(default)]
        before: Option<Timestamp>,
    },
    /// How many events a replay would take.
    CountReplay {
        /// Applied or failed ones.
        kind: Replayable,
        /// Which.
        selection: Selection,
    },
    /// A page of a replay.
    Replay {
        /// Who acts.
        actor: String,
        /// Applied or failed ones.
        kind: Replayable,
        /// Which.
        selection: Selection,
        /// Where the page before ended.
        after: Option<Cursor>,
        /// How many events at the most.
        limit: i64,
    },
}

/// What an act brought about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// The migrations that were applied.
    Migrated {
        /// Version and name of each.
        applied: Vec<String>,
    },
    /// The checks of `verify.sql`.
    Verified {
        /// Each check.
        findings: Vec<Finding>,
    },
    /// An org's credential.
    Organization(OrganizationKey),
    /// All orgs, without their keys.
    Organizations {
        /// Each org.
        organizations: Vec<ringfence_core::admin::Organization>,
    },
    /// The new agent.
    Agent(AddedAgent),
    /// The new lead.
    Lead {
        /// Its id.
        id: Uuid,
    },
    /// The agents of an org.
    Agents {
        /// Each.
        agents: Vec<ListedAgent>,
    },
    /// The tools of an org.
    Tools {
        /// Each.
        tools: Vec<Tool>,
    },
    /// What signs messages to an org's endpoints. Kept nowhere.
    ToolSecret {
        /// The secret that new messages are signed with first.
        secret: String,
    },
    /// The act is done.
    Done {},
    /// A token that watches an org's calls. Shown once; kept nowhere.
    Token {
        /// The token: a secret.
        token: String,
        /// From then on it opens nothing.
        expires_at: Timestamp,
    },
    /// A link that signs in to the console. Shown once; kept nowhere.
    Console {
        /// The link, with a token in it: a secret.
        link: String,
        /// From then on it opens nothing.
        expires_at: Timestamp,
    },
    /// Failed operations.
    Failures {
        /// Each.
        operations: Vec<FailedOperation>,
    },
    /// What became of the dead letters.
    Redriven(Redriven),
    /// How many events a replay would take.
    Count {
        /// Events.
        events: i64,
    },
    /// What a page of a replay did.
    Replayed(Replayed),
    /// What was erased, or would be.
    Erased(Erasure),
    /// How an org is set up at Vapi.
    Connected(Connection),
    /// Queues and clocks.
    Inspected {
        /// Messages in each dead-letter queue, by its function.
        dead_letters: Vec<(String, i64)>,
        /// How far the database's clock is ahead of the function's, in milliseconds.
        clock_skew_ms: i64,
    },
}

/// A secret on its way to be sealed. Does not print itself.
pub type Secret = ringfence_vapi::Sensitive<String>;

/// An org with its newest key. Shown once to whoever asked; kept nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganizationKey {
    /// The org.
    pub id: OrgId,
    /// The key: a secret.
    pub key: String,
    /// The key's version. A URL for HMAC carries it as `?v=`.
    pub key_version: i32,
    /// Where Vapi is to post.
    pub webhook_url: String,
}

/// An act that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The database refused, or is away.
    #[error(transparent)]
    Failed(Failure),
    /// The migrations were rolled back.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// The database's settings cannot work.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// A setting is missing.
    #[error(transparent)]
    Misconfigured(#[from] Misconfigured),
    /// SQS did not do as asked.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A token could not be signed.
    #[error(transparent)]
    Token(#[from] InvalidToken),
    /// Vapi did not do as asked.
    #[error("{0}: {text}", text = .0.title())]
    Vapi(FailureCode),
    /// The org has no API key at Vapi.
    #[error("the org has no API key at Vapi: `cargo ringfence org vapi-key` keeps one")]
    NoVapiKey,
    /// There is no such org.
    #[error("there is no such org")]
    NoSuchOrg,
    /// The org has no such agent, lead, tool or open failure of a tool call.
    #[error("the org has no such {0}")]
    NoSuch(&'static str),
    /// Vapi would not understand what an agent is to answer.
    #[error(transparent)]
    Agent(#[from] InvalidConfiguration),
    /// An agent that makes calls cannot answer them.
    #[error("only an inbound agent can be the default")]
    DefaultMakesCalls,
    /// An endpoint that is not reached over TLS.
    #[error("an endpoint is an https URL of at most 2000 characters, without a user name in it")]
    NotHttps,
    /// A type of messages that no endpoint answers.
    #[error(
        "an endpoint can answer transfer-destination-request, handoff-destination-request, knowledge-base-request, call.endpointing.request and campaign.predial"
    )]
    NotAnswerable,
    /// Out of range.
    #[error("a tool has a name of 1 to 128 characters and 1 to 15 seconds")]
    ToolOutOfRange,
    /// One of an agent's ids leads to another org already.
    #[error("another org registered one of these ids or this number")]
    RegisteredByAnotherOrg,
    /// The org has a lead with this number.
    #[error("the org has a lead with this number already")]
    LeadExists,
    /// A text that is no key, or a key that cannot be sealed.
    #[error("a key is a text of 8 to 200 characters without spaces")]
    NotAKey,
    /// Out of range.
    #[error("recordings and transcripts are kept for 1 to 36500 days, or for ever; events for 15 to 36500 days")]
    RetentionOutOfRange,
    /// Not a phone number as it is kept.
    #[error("a phone number is written in E.164, such as +15555550142")]
    NotE164,
}

impl From<FailureCode> for ActError {
    fn from(code: FailureCode) -> Self {
        Self::Vapi(code)
    }
}

/// The one place where the name of a violated constraint becomes what it means to a person.
impl From<Failure> for ActError {
    fn from(failure: Failure) -> Self {
        match failure.constraint.as_deref() {
            Some("agents_org_fkey" | "leads_org_fkey" | "tools_org_fkey") => Self::NoSuchOrg,
            Some("platform_directory_pkey") => Self::RegisteredByAnotherOrg,
            Some("leads_org_phone_key") => Self::LeadExists,
            Some("agents_default_answers") => Self::DefaultMakesCalls,
            Some("tools_endpoint_https") => Self::NotHttps,
            Some("tools_message_known") => Self::NotAnswerable,
            Some("tools_name_length" | "tools_timeout_bounded") => Self::ToolOutOfRange,
            Some(
                "organizations_recording_retention_bounded"
                | "organizations_transcript_retention_bounded"
                | "organizations_event_retention_bounded",
            ) => Self::RetentionOutOfRange,
            Some("agents_phone_number_e164" | "leads_phone_e164") => Self::NotE164,
            _ => Self::Failed(failure),
        }
    }
}

/// What administration works with.
pub struct Administration {
    database: DatabaseSettings,
    app_password: String,
    pub(crate) masters: MasterKeys,
    pub(crate) base_url: String,
    pub(crate) queues: Vec<FunctionQueues>,
    pub(crate) recordings: FunctionQueues,
    pub(crate) parking: Parking,
    pub(crate) vapi: VapiApi,
}

impl Administration {
    /// From `DATABASE_OWNER_URL`, `RINGFENCE_APP_PASSWORD`, `RINGFENCE_MASTER_KEYS`, `PUBLIC_BASE_URL`, `PARKING_BUCKET`, the queues
    /// of each event function ([`FunctionQueues::from_environment`]) and those of recordings ([`FunctionQueues::of_recordings`]).
    pub fn from_environment(
        environment: &Environment<'_>,
        sqs: &Client,
        s3: aws_sdk_s3::Client,
    ) -> Result<Self, Misconfigured> {
        let queues = |function| FunctionQueues::from_environment(environment, sqs, function);
        Ok(Self {
            database: environment.owner_database()?,
            app_password: environment.required("RINGFENCE_APP_PASSWORD")?,
            masters: environment.master_keys()?,
            base_url: environment.required("PUBLIC_BASE_URL")?,
            parking: Parking::from_environment(environment, s3)?,
            vapi: VapiApi::from_environment(environment)?,
            queues: Function::ALL.into_iter().map(queues).collect::<Result<_, _>>()?,
            recordings: FunctionQueues::of_recordings(environment, sqs)?,
        })
    }

    /// Performs an act.
    #[expect(clippy::too_many_lines, reason = "a line or two for each act")]
    pub async fn perform(&self, act: Act) -> Result<Answer, ActError> {
        Ok(match act {
            Act::Migrate => Answer::Migrated { applied: self.migrate().await? },
            Act::Verify => Answer::Verified { findings: migrations::verify(&self.database).await? },
            Act::CreateOrganization { actor, name } => {
                let id = self.admin(actor).await?.create_organization(&name).await?;
                Answer::Organization(self.key(id, 1))
            }
            Act::ListOrganizations { actor } => {
                Answer::Organizations { organizations: self.admin(actor).await?.organizations().await? }
            }
            Act::RotateKey { actor, org_id, overlap_seconds } => {
                let overlap = Duration::from_secs(overlap_seconds);
                let version = self.admin(actor).await?.rotate_key(org_id, overlap).await?.ok_or(ActError::NoSuchOrg)?;
                Answer::Organization(self.key(org_id, version))
            }
            Act::AddAgent { actor, org_id, agent } => {
                check(&agent.configuration)?;
                Answer::Agent(self.admin(actor).await?.add_agent(org_id, &agent).await?)
            }
            Act::AddLead { actor, org_id, phone, name, metadata } => {
                let admin = self.admin(actor).await?;
                Answer::Lead { id: admin.add_lead(org_id, &phone, name.as_deref(), &metadata).await? }
            }
            Act::ChangeLead { actor, org_id, phone, name, metadata } => {
                let admin = self.admin(actor).await?;
                let metadata = metadata.map(Value::Object);
                let changed = admin.change_lead(org_id, &phone, name.as_deref(), metadata.as_ref()).await?;
                Answer::Lead { id: changed.ok_or(ActError::NoSuch("lead"))? }
            }
            Act::ListAgents { org_id } => {
                Answer::Agents { agents: self.admin(READER.to_owned()).await?.agents(org_id).await? }
            }
            Act::ConfigureAgent { actor, org_id, agent_id, is_default, configuration } => {
                configuration.as_ref().map_or(Ok(()), check)?;
                let admin = self.admin(actor).await?;
                let configuration = configuration.map(Value::Object);
                let found = admin.configure_agent(org_id, agent_id, is_default, configuration.as_ref()).await?;
                done(found, "agent")?
            }
            Act::ListTools { org_id } => {
                Answer::Tools { tools: self.admin(READER.to_owned()).await?.tools(org_id).await? }
            }
            Act::SetTool { actor, org_id, tool } => {
                self.admin(actor).await?.set_tool(org_id, &tool).await?;
                Answer::Done {}
            }
            Act::RemoveTool { actor, org_id, kind, name } => {
                done(self.admin(actor).await?.remove_tool(org_id, kind, &name).await?, "tool")?
            }
            Act::ShowToolSecret { actor, org_id } => {
                if !self.admin(actor).await?.note_tool_secret(org_id).await? {
                    return Err(ActError::NoSuchOrg);
                }
                let secret = self.masters.tool_secrets(org_id).next().map(|secret| secret.expose());
                Answer::ToolSecret { secret: secret.unwrap_or_default() }
            }
            Act::SetVapiKey { actor, org_id, key } => {
                let sealed = key.map(|key| self.seal_vapi_key(org_id, &key)).transpose()?;
                of_known_org(self.admin(actor).await?.set_vapi_key(org_id, sealed.as_deref()).await?)?
            }
            Act::SetRetention { actor, org_id, kept, days } => {
                of_known_org(self.admin(actor).await?.set_retention(org_id, kept, days).await?)?
            }
            Act::SetZeroRetention { actor, org_id, is_zero } => {
                of_known_org(self.admin(actor).await?.set_zero_retention(org_id, is_zero).await?)?
            }
            Act::Connect { actor, org_id, run } => Answer::Connected(Box::pin(self.connect(actor, org_id, run)).await?),
            Act::Inspect {} => self.inspect().await?,
            Act::Erase { actor, org_id, erase, run } => {
                Answer::Erased(Box::pin(self.erase(actor, org_id, &erase, run)).await?)
            }
            Act::SettleToolCall { actor, org_id, event_id } => {
                let found = self.admin(actor).await?.settle_tool_call(org_id, &event_id).await?;
                done(found, "open failure of a tool call")?
            }
            Act::MintToken { actor, org_id, lifetime_seconds } => {
                let lifetime = Duration::from_secs(lifetime_seconds);
                let (token, expires_at) = self.mint(actor, Audience::Live, Scope::Org(org_id), lifetime).await?;
                Answer::Token { token, expires_at }
            }
            Act::MintConsoleToken { actor, org_id, lifetime_seconds } => {
                let scope = org_id.map_or(Scope::Operator, Scope::Org);
                let lifetime = Duration::from_secs(lifetime_seconds);
                let (token, expires_at) = self.mint(actor, Audience::Console, scope, lifetime).await?;
                Answer::Console { link: format!("{}/console/sign-in#token={token}", self.base_url), expires_at }
            }
            Act::ListFailures { selection, resolved, limit } => {
                let admin = self.admin(READER.to_owned()).await?;
                Answer::Failures { operations: admin.failed_operations(&selection, resolved, limit).await? }
            }
            Act::Redrive { actor, selection, run, per_second, before } => Answer::Redriven(
                Box::pin(self.redrive(actor, &selection, Manner::back(run, per_second, before))).await?,
            ),
            Act::CountReplay { kind, selection } => {
                let admin = self.admin(READER.to_owned()).await?;
                Answer::Count { events: admin.count_replayable(kind, &selection).await? }
            }
            Act::Replay { actor, kind, selection, after, limit } => {
                let admin = self.admin(actor).await?;
                Answer::Replayed(admin.replay(kind, &selection, after.as_ref(), limit).await?)
            }
        })
    }

    /// Brings the schema up to date; names what was applied.
    pub async fn migrate(&self) -> Result<Vec<String>, MigrationError> {
        let applied = migrations::run(&self.database, &self.app_password).await?;
        tracing::info!(
            migrations.applied = applied.len(),
            migrations.newest = migrations::newest_version(),
            "migrated"
        );
        Ok(applied)
    }

    /// Gives `ringfence_app` the password of this release again. A failure is in the log: who calls this cannot do anything about it.
    pub(crate) async fn restore_password(&self) {
        match migrations::set_app_password(&self.database, &self.app_password).await {
            Ok(()) => tracing::info!("password restored"),
            Err(error) => tracing::error!(%error, "the password could not be restored"),
        }
    }

    pub(crate) async fn admin(&self, actor: String) -> Result<Admin, MigrationError> {
        Admin::connect(&self.database, actor).await
    }

    async fn redrive(&self, actor: String, selection: &Selection, manner: Manner) -> Result<Redriven, ActError> {
        let admin = self.admin(actor).await?;
        if manner.run {
            admin.take_turn_to_redrive().await?;
        }
        let queues = self.queues.iter().chain([&self.recordings]);
        let redriven = Redrive::new(&admin, &self.parking, selection, manner).all(queues).await?;
        if manner.run {
            admin.note_redrive(selection.org_id, &json!(redriven)).await?;
        }
        Ok(redriven)
    }

    async fn inspect(&self) -> Result<Answer, ActError> {
        let names = Function::ALL.into_iter().map(Function::as_str).chain(["recording-upload"]);
        let mut dead_letters = Vec::new();
        for (name, queues) in names.zip(self.queues.iter().chain([&self.recordings])) {
            dead_letters.push((name.to_owned(), queues.dead_letters.depth().await?.waiting));
        }
        let clock_skew_ms = self.admin(READER.to_owned()).await?.clock_skew().await?;
        Ok(Answer::Inspected { dead_letters, clock_skew_ms })
    }

    /// A token, noted before it is made, and until when it counts.
    async fn mint(
        &self,
        actor: String,
        audience: Audience,
        scope: Scope,
        lifetime: Duration,
    ) -> Result<(String, Timestamp), ActError> {
        let lifetime = lifetime.min(MAX_LIFETIME);
        let org_id = match scope {
            Scope::Org(org_id) => Some(org_id),
            Scope::Operator => None,
        };
        if !self.admin(actor.clone()).await?.note_token(audience.as_str(), org_id, lifetime).await? {
            return Err(ActError::NoSuchOrg);
        }
        let (token, claims) = Tokens::new(&self.masters).mint(audience, scope, &actor, lifetime, Timestamp::now())?;
        Ok((token, claims.expires_at))
    }

    fn seal_vapi_key(&self, org_id: OrgId, key: &Secret) -> Result<String, ActError> {
        let key = key.expose();
        let is_key = (8..=200).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        let sealed = is_key.then(|| Sealer::new(&self.masters).seal_api_key(org_id, key));
        sealed.and_then(Result::ok).ok_or(ActError::NotAKey)
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
fn check(configuration: &Map<String, Value>) -> Result<(), ActError> {
    Ok(Configuration::from_json(&json!(configuration).to_string()).map(drop)?)
}

fn of_known_org(found: bool) -> Result<Answer, ActError> {
    if found { Ok(Answer::Done {}) } else { Err(ActError::NoSuchOrg) }
}

fn done(found: bool, what: &'static str) -> Result<Answer, ActError> {
    if found { Ok(Answer::Done {}) } else { Err(ActError::NoSuch(what)) }
}
