//! Verification of a deployed stack. Each successful check prints a line. The first failing check is an error.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use ringfence_identity::Subject;
use ringfence_protocol::maintenance::{Job, JobRequest, Report};
use ringfence_vapi::OrgId;
use serde_json::{Value, json};
use strum::IntoEnumIterator as _;
use tokio::process::Command;

use super::{STACK, recordings, retries};
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::local::command::{output, this_program};
use ringfence_harness::local::environment::of_aws;
use ringfence_harness::local::organization::Org;
use ringfence_harness::local::queues::configuration;
use ringfence_harness::local::secrets::Secrets;
use ringfence_harness::local::{connection, http};
use ringfence_harness::viewer::Viewer;
use ringfence_harness::wait::wait_until;
use ringfence_simulate::cast::ASSISTANT_ID;
use ringfence_simulate::ledger::Ledger;
use ringfence_simulate::plan::{Call, Run};
use ringfence_simulate::sender::Pace;
use ringfence_simulate::{Manner, Target, send};

/// Limit for an answer. Each invocation starts a process.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Limit for applying a call, whose messages are polled one batch at a time.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Longer than the schedule's interval of one minute, at any start time.
const SCHEDULED: Duration = Duration::from_mins(4);

/// The deployed stack with the values that the checks need.
pub(super) struct Proof<'a> {
    pub(super) base_url: &'a str,
    pub(super) aws_endpoint: &'a str,
    pub(super) database_url: &'a str,
    pub(super) outputs: &'a BTreeMap<String, String>,
}

impl Proof<'_> {
    /// Runs all checks in order. Returns the org that they created.
    pub(super) async fn carry_out(&self, secrets: &Secrets) -> Result<Org> {
        self.schema().await?;
        self.health(&format!("{}/health", self.base_url)).await?;
        let org = self.create_org().await?;
        let own =
            Target { webhook_url: format!("{}/vapi/{}", self.base_url, org.id), org: org.id, key: org.key.clone() };
        self.refusal(&own).await?;
        self.webhooks(&own, "the org's URL").await?;
        self.register_agent(org.id).await?;
        self.interactive(&own).await?;
        let key = secrets.master_keys()?.mint(Subject::Platform, 1).expose().to_owned();
        let platform = Target { webhook_url: format!("{}/vapi", self.base_url), org: org.id, key };
        self.webhooks(&platform, "the platform's URL").await?;
        self.retries(org.id).await?;
        self.dead_letters().await?;
        self.live(&own).await?;
        self.recordings(&own).await?;
        self.maintenance().await?;
        self.schedules().await?;
        self.erasure(org.id).await?;
        Ok(org)
    }

    /// Checks that the deployment ran the migrations.
    async fn schema(&self) -> Result<()> {
        let printed = self.ringfence(&["doctor"]).await?;
        let checks = printed.lines().filter(|line| line.trim_start().starts_with("ok ")).count();
        proven(&format!("doctor --stack {STACK}: migrated, {checks} checks hold"));
        Ok(())
    }

    async fn health(&self, url: &str) -> Result<()> {
        if !http::answers(url, ANSWER_LIMIT).await {
            return Err(Error::new(format!("{url} does not answer 200")));
        }
        proven(&format!("GET {url} answers 200"));
        Ok(())
    }

    /// Creates an org with the deployed admin function.
    async fn create_org(&self) -> Result<Org> {
        let printed = self.ringfence(&["org", "create", "--name", "Deployed", "--json"]).await?;
        let org: Org = serde_json::from_str(&printed).context("read the new org")?;
        proven(&format!("org create --stack {STACK}: {}", org.id));
        Ok(org)
    }

    async fn register_agent(&self, org: OrgId) -> Result<()> {
        let org = org.to_string();
        let agent = ["agent", "add", "--org", &org, "--name", "Deployed", "--assistant", ASSISTANT_ID, "--default"];
        self.ringfence(&agent).await?;
        proven(&format!("agent add --stack {STACK}"));
        Ok(())
    }

    /// Checks the routes of the interactive functions: an assistant request, and a call of an unregistered tool.
    async fn interactive(&self, target: &Target) -> Result<()> {
        let call = json!({"id": "deployed-interactive"});
        let request = json!({"message": {"type": "assistant-request", "call": call}});
        let answer = self.ask(target, "assistant-request", &request).await?;
        if answer["assistantId"] != ASSISTANT_ID {
            return Err(Error::new(format!("assistant-request is answered {answer}")));
        }
        let tool = json!({"id": "t1", "type": "function", "function": {"name": "nobody's", "arguments": {}}});
        let calls = json!({"message": {"type": "tool-calls", "call": call, "toolCallList": [tool]}});
        let answer = self.ask(target, "tool-calls", &calls).await?;
        if !answer["results"][0]["error"].is_string() {
            return Err(Error::new(format!("tool-calls is answered {answer}")));
        }
        proven("assistant-request and tool-calls are answered by their own routes");
        Ok(())
    }

    async fn ask(&self, target: &Target, route: &str, message: &Value) -> Result<Value> {
        let url = format!("{}/{route}", target.webhook_url);
        let request = http::client(ANSWER_LIMIT)?.post(url).header("x-vapi-secret", &target.key).json(message);
        let answer = request.send().await.and_then(reqwest::Response::error_for_status).context("ask")?;
        answer.json().await.context("read the answer")
    }

    /// Checks that a wrong key is answered with 401.
    async fn refusal(&self, target: &Target) -> Result<()> {
        let request = http::client(ANSWER_LIMIT)?.post(&target.webhook_url).header("x-vapi-secret", "rf_local_1_wrong");
        let answer = request.body(r#"{"message":{"type":"hang"}}"#).send().await.context("post with a wrong key")?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Err(Error::new(format!("a wrong key is answered {} and not 401", answer.status())));
        }
        proven("a wrong key is answered 401");
        Ok(())
    }

    /// Checks a call's webhooks, through the HTTP API, the webhook function and the database.
    async fn webhooks(&self, target: &Target, to: &str) -> Result<()> {
        let ledger = Ledger::open(self.database_url, target.org).await?;
        let calls = Run::new(Timestamp::now(), false).calls(1);
        let pace = Pace { rate: None, concurrency: 1 };
        let manner = Manner { duplicates: 1, shuffle: true, pace, attempts: Manner::PERSISTENT };
        let tally = send(target, &calls, manner).await?;
        if !tally.is_whole() {
            return Err(Error::new(format!(
                "of {} webhooks to {to} {} were acknowledged",
                tally.sent, tally.acknowledged
            )));
        }
        let rows = rows(&ledger, target.org, &calls).await?;
        proven(&format!("a call to {to}: {} signed webhooks acknowledged, {rows} rows right", tally.sent));
        Ok(())
    }

    /// Checks a call's events, through the retry queues, their event source mappings, the event functions and the
    /// database.
    async fn retries(&self, org: OrgId) -> Result<()> {
        let ledger = Ledger::open(self.database_url, org).await?;
        let calls = Run::new(Timestamp::now(), false).calls(1);
        let queued = retries::queue_events(self.aws_endpoint, self.outputs, org, &calls[0]).await?;
        let rows = rows(&ledger, org, &calls).await?;
        proven(&format!("a call from the retry queues: {queued} events applied by their functions, {rows} rows right"));
        Ok(())
    }

    /// Checks that a viewer with a token receives a call's frames, through the WebSocket API, the live function and
    /// pushes.
    async fn live(&self, target: &Target) -> Result<()> {
        let api =
            self.outputs.get("WebSocketApiId").ok_or_else(|| Error::new("the stack has no output WebSocketApiId"))?;
        let url = format!("{}/_aws/execute-api/{api}/live", self.aws_endpoint.replacen("http", "ws", 1));
        let token = self.ringfence(&["token", "--org", &target.org.to_string()]).await?;
        let mut viewer = Viewer::connect(&url, token.trim()).await?;
        viewer.resume().await?;
        let calls = Run::new(Timestamp::now(), false).calls(1);
        let pace = Pace { rate: None, concurrency: 1 };
        let manner = Manner { duplicates: 0, shuffle: false, pace, attempts: Manner::PERSISTENT };
        send(target, &calls, manner).await?;
        let frame = viewer.frame_of(&calls[0].id, TIMEOUT).await?;
        proven(&format!("a viewer with a token receives the frames of a call: the first is {frame}"));
        if Viewer::connect(&url, "no.valid.token").await.is_ok() {
            return Err(Error::new("a viewer without a valid token was accepted"));
        }
        proven("a viewer without a valid token is refused");
        Ok(())
    }

    async fn dead_letters(&self) -> Result<()> {
        let moved = retries::give_up(self.aws_endpoint, self.outputs, TIMEOUT).await?;
        proven(&format!("invalid messages on {moved} retry queues become dead letters"));
        Ok(())
    }

    /// Checks a recording that is refused, the redrive of its dead letter, and the playback of the recording.
    async fn recordings(&self, target: &Target) -> Result<()> {
        recordings::report(target).await?;
        recordings::wait_for_state(self.database_url, "dead RF8003", TIMEOUT).await?;
        proven("a recording on a host that is not listed is a dead letter (RF8003)");
        recordings::put(self.aws_endpoint, self.outputs, target).await?;
        self.ringfence(&["redrive", "--type", "recording", "--run"]).await?;
        recordings::wait_for_state(self.database_url, "stored", TIMEOUT).await?;
        let token = self.ringfence(&["token", "--org", &target.org.to_string()]).await?;
        recordings::play(self.base_url, token.trim()).await?;
        proven("after a redrive it is in the bucket, and a token plays it");
        Ok(())
    }

    async fn maintenance(&self) -> Result<()> {
        let function = self
            .outputs
            .get("MaintenanceFunctionName")
            .ok_or_else(|| Error::new("no output MaintenanceFunctionName"))?;
        for job in Job::iter() {
            let order = serde_json::to_vec(&JobRequest { job, dry_run: true }).context("write an order")?;
            let invoke =
                aws_sdk_lambda::Client::new(&configuration(self.aws_endpoint)).invoke().function_name(function);
            let answer = invoke.payload(order.into()).send().await.context("order maintenance")?;
            let payload = answer.payload().map(AsRef::as_ref).unwrap_or_default();
            let report: Report = serde_json::from_slice(payload).context("read the report of maintenance")?;
            if (report.job, report.done) != (job, 0) {
                return Err(Error::new(format!("a dry run of {job} reports {report:?}")));
            }
        }
        proven("dry runs of maintenance jobs report their findings");
        Ok(())
    }

    /// Checks that the schedule of `watch` runs every minute and stores the depth of each queue.
    async fn schedules(&self) -> Result<()> {
        let client = connection::open(self.database_url).await?;
        let mut queues = 0_i64;
        let has_fired = async || {
            let row = client.query_one("SELECT count(*) FROM queue_states", &[]).await.context("look for queues")?;
            queues = row.get(0);
            Ok(queues > 0)
        };
        if !wait_until(SCHEDULED, has_fired).await? {
            return Err(Error::new("no schedule has run"));
        }
        proven(&format!("a schedule has run: maintenance has stored the depth of {queues} queues"));
        Ok(())
    }

    /// Erases a call with the deployed admin function.
    async fn erasure(&self, org: OrgId) -> Result<()> {
        let client = connection::open(self.database_url).await?;
        let query = "SELECT vapi_call_id FROM call_logs WHERE org_id = $1 AND status = 'completed' LIMIT 1";
        let call: String = client.query_one(query, &[org.as_uuid()]).await.context("find a call")?.get(0);
        self.ringfence(&["erase", "--org", &org.to_string(), "--call", &call, "--run"]).await?;
        let query = "SELECT count(*) FROM call_logs WHERE vapi_call_id = $1";
        let left: i64 = client.query_one(query, &[&call]).await.context("look for the call")?.get(0);
        if left > 0 {
            return Err(Error::new("an erased call still exists"));
        }
        proven("a call is erased by the deployed admin function");
        Ok(())
    }

    /// Runs this tool on the deployed stack, as an operator does.
    async fn ringfence(&self, arguments: &[&str]) -> Result<String> {
        let mut tool = Command::new(this_program()?);
        tool.args(arguments).args(["--stack", STACK]).envs(of_aws(self.aws_endpoint)).kill_on_drop(true);
        for name in ["AWS_PROFILE", "AWS_SESSION_TOKEN"] {
            tool.env_remove(name);
        }
        output(&mut tool, &format!("run `ringfence {} --stack {STACK}`", arguments.join(" "))).await
    }
}

/// Number of the calls' rows. A row that differs from the expected one is an error.
async fn rows(ledger: &Ledger, org: OrgId, calls: &[Call]) -> Result<usize> {
    let comparison = ledger.check(org, calls, TIMEOUT).await?.comparison;
    if comparison.is_right() {
        return Ok(comparison.right);
    }
    let differences: Vec<String> = comparison.differences().collect();
    Err(Error::new(format!("the rows of the call differ from the expected rows:\n  {}", differences.join("\n  "))))
}

fn proven(what: &str) {
    println!("  ok    {what}");
}
