//! `cargo ringfence pages`: test of the console's pages in a real browser.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use ringfence_protocol::admin::{Command, Reply};
use ringfence_protocol::maintenance::{Job, JobRequest};
use ringfence_vapi::OrgId;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process;

use ringfence_cli::Backend as _;
use ringfence_cli::backend::unexpected;
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::local::administration::{LocalStack, administration};
use ringfence_harness::local::command::on_path;
use ringfence_harness::local::layout::Layout;
use ringfence_harness::local::stack::Stack;
use ringfence_harness::local::{connection, http, npm};
use ringfence_harness::testing::FakeVapi;
use ringfence_harness::wait::wait_until;
use ringfence_simulate::ledger::Ledger;
use ringfence_simulate::plan::Run;
use ringfence_simulate::recording;
use ringfence_simulate::sender::Pace;
use ringfence_simulate::{Manner, Target, send};

const CONSOLE: Duration = Duration::from_hours(1);
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_mins(1);
/// A text that the database refuses while the constraint exists.
const UNSPEAKABLE: &str = "This cannot be stored.";
const FORBID: &str =
    "ALTER TABLE call_transcripts ADD CONSTRAINT unspeakable CHECK (text <> 'This cannot be stored.') NOT VALID";
const ALLOW: &str = "ALTER TABLE call_transcripts DROP CONSTRAINT IF EXISTS unspeakable";

/// Opens the console's pages in Chromium, on the local stack, and saves screenshots in target/ringfence/pages
#[derive(Debug, clap::Args)]
pub(crate) struct Pages {}

impl Pages {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let layout = Layout::find()?;
        let stack = Stack::running(&layout)?
            .ok_or_else(|| Error::new("the local stack is not up: run `cargo ringfence up --detach` first"))?;
        let (node, chromium) = (program(&["node"])?, program(&["chromium", "chromium-browser", "google-chrome"])?);
        let packages = npm::install(&layout, "tests/pages", "pages").await?;
        let walk = Walk { layout: &layout, stack: &stack, storage: recording::storage().await };
        let outcome = walk.walk(&node, &chromium, &packages).await;
        // Also after a test that failed.
        walk.database().await?.batch_execute(ALLOW).await.context("drop the constraint")?;
        outcome?;
        println!("The screenshots are in {}", layout.path("pages").display());
        Ok(ExitCode::SUCCESS)
    }
}

fn program(names: &[&str]) -> Result<PathBuf> {
    let found = names.iter().find_map(|name| on_path(name));
    found.ok_or_else(|| Error::new(format!("{} is not on PATH: the README says how to install it", names[0])))
}

/// A run of the test, with the actions that it requests outside the browser.
struct Walk<'a> {
    layout: &'a Layout,
    stack: &'a Stack,
    storage: FakeVapi,
}

impl Walk<'_> {
    async fn walk(&self, node: &Path, chromium: &Path, packages: &Path) -> Result<()> {
        let mut browser = process::Command::new(node);
        browser
            .arg(self.layout.root().join("tests/pages/walk.mjs"))
            .env("PAGES_PACKAGES", packages)
            .env("PAGES_CHROMIUM", chromium)
            .env("PAGES_PICTURES", self.layout.path("pages"))
            .env("PAGES_LINK", self.link(Some(self.stack.org.id)).await?)
            .env("PAGES_OPERATOR_LINK", self.link(None).await?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = browser.spawn().context("start the browser test")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(Error::new("the browser test has no pipes"));
        };
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await.context("read from the browser test")? {
            match line.strip_prefix("do: ") {
                Some(what) => {
                    let answer = format!("{}\n", self.carry_out(what).await?);
                    stdin.write_all(answer.as_bytes()).await.context("write to the browser test")?;
                }
                None => println!("{line}"),
            }
        }
        let status = child.wait().await.context("wait for the browser test")?;
        if status.success() {
            Ok(())
        } else {
            Err(Error::new("a page differs from the expected one; see the output above"))
        }
    }

    async fn carry_out(&self, what: &str) -> Result<Value> {
        match what {
            "send a call" => self.send_call().await,
            "begin a call" => {
                let call = format!("pages-{}", uuid::Uuid::new_v4());
                self.post(&json!({"type": "status-update", "status": "in-progress", "call": {"id": call}})).await?;
                Ok(json!({"call": call}))
            }
            "break" => self.break_event().await,
            "fix" => {
                self.database().await?.batch_execute(ALLOW).await.context("drop the constraint")?;
                Ok(json!({}))
            }
            "count" => {
                // The jobs that schedules run every few minutes.
                for job in [Job::RollUp, Job::Watch] {
                    LocalStack.run_job(JobRequest { job, dry_run: false }).await?;
                }
                Ok(json!({}))
            }
            other => Err(Error::new(format!("unknown action of the browser test: {other:?}"))),
        }
    }

    /// Sends one call with a recording.
    async fn send_call(&self) -> Result<Value> {
        let target = Target::of_stack(self.stack);
        let mut ledger = Ledger::open(&self.stack.database_url, target.org).await?;
        ledger.add_cast(&administration(self.layout, self.stack)?, target.org, true).await?;
        let calls = Run::new(Timestamp::now(), false).recorded_by(&self.storage.url).calls(1);
        let pace = Pace { rate: None, concurrency: 1 };
        let manner = Manner { duplicates: 0, shuffle: false, pace, attempts: Manner::PERSISTENT };
        send(&target, &calls, manner).await?;
        Ok(json!({"call": calls[0].id}))
    }

    /// Sends an event that the database refuses until the constraint is removed.
    async fn break_event(&self) -> Result<Value> {
        let database = self.database().await?;
        database.batch_execute(ALLOW).await.context("drop the constraint")?;
        database.batch_execute(FORBID).await.context("add the constraint")?;
        let call = format!("pages-{}", uuid::Uuid::new_v4());
        self.post(&json!({"type": "transcript", "transcriptType": "final", "role": "user", "transcript": UNSPEAKABLE,
            "timestamp": Timestamp::now().as_millisecond(), "call": {"id": call}}))
            .await?;
        let query = "SELECT event_id FROM failed_operations WHERE vapi_call_id = $1 AND state = 'dead'";
        let mut event: Option<String> = None;
        let is_dead = async || {
            let row = database.query_opt(query, &[&call]).await.context("look for the failure")?;
            event = row.map(|row| row.get(0));
            Ok(event.is_some())
        };
        if wait_until(TIMEOUT, is_dead).await? {
            return Ok(json!({"event": event}));
        }
        Err(Error::new("an event that the database refuses did not become a dead letter"))
    }

    async fn post(&self, message: &Value) -> Result<()> {
        let request = http::client(ANSWER_LIMIT)?.post(&self.stack.webhook_url);
        let request =
            request.header("x-vapi-secret", &self.stack.org.key).body(json!({"message": message}).to_string());
        request.send().await.and_then(reqwest::Response::error_for_status).context("post an event")?;
        Ok(())
    }

    async fn link(&self, org_id: Option<OrgId>) -> Result<String> {
        let act = Command::MintConsoleToken { actor: "pages".to_owned(), org_id, lifetime_seconds: CONSOLE.as_secs() };
        let answer = administration(self.layout, self.stack)?.perform(act).await.context("make a link")?;
        let Reply::Console { link, .. } = answer else { return Err(unexpected(&answer)) };
        Ok(link)
    }

    async fn database(&self) -> Result<tokio_postgres::Client> {
        connection::open(&self.stack.database_url).await
    }
}
