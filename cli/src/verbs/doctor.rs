//! `cargo ringfence doctor`: whether this machine has what is needed, and whether the running stack is sound.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ringfence_protocol::admin::{Command, Finding, Reply, ServerCheck};
use ringfence_vapi::OrgId;
use tokio::process;

use crate::administration::{Place, unexpected};
use crate::error::{Error, Result};
use crate::local::command::{on_path, output};
use crate::local::layout::Layout;
use crate::local::stack::Stack;
use crate::local::{http, pgbouncer, postgres_binaries, python, queues};

/// Receipt times and leases are of both clocks.
const MOST_SKEW_MS: i64 = 60_000;
/// Longer than the functions take to find the database away.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Checks the prerequisites and the local stack when it is up; or a deployed one, from inside; and how an org is set up at Vapi.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Also how this org is set up at Vapi
    #[arg(long)]
    org: Option<OrgId>,
    #[command(flatten)]
    place: Place,
}

impl Doctor {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let mut report = Report { sound: true };
        match &self.place.stack {
            Some(name) => {
                println!("The stack {name}");
                check_database(&mut report, &self.place).await;
                check_inside(&mut report, &self.place).await;
            }
            None => check_here(&mut report, &self.place).await?,
        }
        if let Some(org) = self.org {
            println!("At Vapi");
            check_vapi(&mut report, &self.place, org).await;
        }
        Ok(if report.sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

async fn check_here(report: &mut Report, place: &Place) -> Result<()> {
    println!("This machine");
    check_machine(report).await;
    println!("The local stack");
    match Stack::running(&Layout::find()?)? {
        Some(stack) => {
            check_stack(report, &stack).await;
            check_database(report, place).await;
            check_inside(report, place).await;
        }
        None => println!("  -     not up (`cargo ringfence up` starts it)"),
    }
    Ok(())
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
    let version = output(process::Command::new(program).arg("--version"), "ask for the version").await?;
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
}

async fn health(stack: &Stack) -> Result<String> {
    if http::answers(&stack.health_url, ANSWER_LIMIT).await {
        return Ok(format!("{} answers", stack.health_url));
    }
    Err(Error::new(format!("{} does not answer 200", stack.health_url)))
}

/// What only a function of the stack sees.
async fn check_inside(report: &mut Report, place: &Place) {
    match place.perform(Command::Inspect {}).await {
        Ok(Reply::Inspected { dead_letters, clock_skew_ms }) => {
            let skew = format!("{clock_skew_ms} ms");
            let is_near = clock_skew_ms.abs() < MOST_SKEW_MS;
            report.check(
                "the database's clock, beside the functions'",
                if is_near { Ok(skew) } else { Err(Error::new(skew)) },
            );
            for (function, count) in dead_letters {
                let what = format!("dead letters of {function}");
                let found = if count == 0 { Ok("none".to_owned()) } else { Err(Error::new(format!("{count}"))) };
                report.check(&what, found);
            }
        }
        Ok(answer) => report.check("queues", Err(unexpected(&answer))),
        Err(error) => report.check("queues", Err(error)),
    }
}

/// How an org's assistants and numbers are set up.
async fn check_vapi(report: &mut Report, place: &Place, org_id: OrgId) {
    match place.perform(Command::Connect { actor: "doctor".to_owned(), org_id, run: false }).await {
        Ok(Reply::Connected(connection)) => {
            for ServerCheck { what, wrong } in connection.found {
                let found =
                    if wrong.is_empty() { Ok("as it should be".to_owned()) } else { Err(Error::new(wrong.join("; "))) };
                report.check(&what, found);
            }
        }
        Ok(answer) => report.check("Vapi", Err(unexpected(&answer))),
        Err(error) => report.check("Vapi", Err(error)),
    }
}

/// The checks of `verify.sql`.
async fn check_database(report: &mut Report, place: &Place) {
    match place.perform(Command::Verify).await {
        Ok(Reply::Verified { findings }) => {
            for Finding { check, ok } in findings {
                report.check(&check, if ok { Ok("holds".to_owned()) } else { Err(Error::new("does not hold")) });
            }
        }
        Ok(answer) => report.check("database", Err(unexpected(&answer))),
        Err(error) => report.check("database", Err(error)),
    }
}
