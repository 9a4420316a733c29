//! `cargo ringfence doctor`: whether this machine has what is needed, and whether the running stack is sound.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::process::Command;

use crate::error::{Context, Error, Result};
use crate::local::command::{on_path, output};
use crate::local::layout::Layout;
use crate::local::stack::Stack;
use crate::local::{connection, http, pgbouncer, postgres_binaries, python, queues};

/// Longer than the functions take to find the database away.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Checks the prerequisites, and the local stack when it is up.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor;

impl Doctor {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let layout = Layout::find()?;
        let mut report = Report { sound: true };
        println!("This machine");
        check_machine(&mut report).await;
        println!("The local stack");
        match Stack::running(&layout)? {
            Some(stack) => check_stack(&mut report, &stack).await,
            None => println!("  -     not up (`cargo ringfence up` starts it)"),
        }
        Ok(if report.sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What was found so far.
struct Report {
    sound: bool,
}

impl Report {
    /// A finding that must be good.
    fn check(&mut self, what: &str, found: Result<String>) {
        match found {
            Ok(detail) => println!("  ok    {what}: {detail}"),
            Err(error) => {
                self.sound = false;
                println!("  FAIL  {what}: {error}");
            }
        }
    }
}

async fn check_machine(report: &mut Report) {
    report.check("Rust", version_of("cargo").await);
    report.check("Python 3 with venv", python::check().await);
    println!("  ok    PostgreSQL: {}", describe_postgres());
    report.check("PgBouncer (for `cargo ringfence test`)", pgbouncer::find().map(|path| path.display().to_string()));
    note("Node (for tests of pages)", on_path("node").as_deref());
    let chromium = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(on_path);
    note("Chromium (for tests of pages)", chromium.as_deref());
}

async fn version_of(program: &str) -> Result<String> {
    let version = output(Command::new(program).arg("--version"), "ask for the version").await?;
    Ok(version.trim().to_owned())
}

fn describe_postgres() -> String {
    let installed = postgres_binaries::find().map(|bin| bin.display().to_string());
    installed
        .unwrap_or_else(|| "none of 15 to 18 installed, `up` will install a package of it under target/".to_owned())
}

/// Something that is good to have.
fn note(what: &str, found: Option<&Path>) {
    match found {
        Some(path) => println!("  ok    {what}: {}", path.display()),
        None => println!("  warn  {what}: not on PATH"),
    }
}

async fn check_stack(report: &mut Report, stack: &Stack) {
    report.check("functions", health(stack).await);
    let sqs = queues::client(&stack.sqs_endpoint);
    for (name, url) in &stack.queues {
        let depth = queues::depth(&sqs, url).await;
        report.check(&format!("queue {name}"), depth.map(|depth| format!("{depth} messages")));
    }
    match verify(stack).await {
        Ok(findings) => findings.into_iter().for_each(|(what, found)| report.check(&what, found)),
        Err(error) => report.check("database", Err(error)),
    }
}

async fn health(stack: &Stack) -> Result<String> {
    if http::answers(&stack.health_url, ANSWER_LIMIT).await {
        return Ok(format!("{} answers", stack.health_url));
    }
    Err(Error::new(format!("{} does not answer 200", stack.health_url)))
}

/// The checks of `verify.sql`.
async fn verify(stack: &Stack) -> Result<Vec<(String, Result<String>)>> {
    let settings = connection::settings(&stack.database_url);
    let findings = ringfence_core::migrations::verify(&settings).await.context("verify the database")?;
    let as_check = |finding: ringfence_core::migrations::Finding| {
        let found = if finding.ok { Ok("holds".to_owned()) } else { Err(Error::new("does not hold")) };
        (finding.check, found)
    };
    Ok(findings.into_iter().map(as_check).collect())
}
