//! `cargo ringfence doctor`: checks of the prerequisites and of the local stack.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ringfence_cli::verbs::doctor::{Doctor, Report, check_stack};
use ringfence_harness::error::{Error, Result};
use ringfence_harness::local::administration::LocalStack;
use ringfence_harness::local::command::{on_path, output};
use ringfence_harness::local::layout::Layout;
use ringfence_harness::local::stack::Stack;
use ringfence_harness::local::{http, pgbouncer, postgres_binaries, python, queues};
use tokio::process;

/// Longer than the functions need to detect that the database is unavailable.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Checks the prerequisites, and the local stack if it is running.
pub(crate) async fn run(doctor: Doctor) -> Result<ExitCode> {
    let mut report = Report::new();
    println!("This machine");
    check_machine(&mut report).await;
    println!("The local stack");
    match Stack::running(&Layout::find()?)? {
        Some(stack) => {
            check_processes(&mut report, &stack).await;
            check_stack(&mut report, &LocalStack).await;
        }
        None => println!("  -     not up (`cargo ringfence up` starts it)"),
    }
    doctor.check_org(&mut report, &LocalStack).await;
    Ok(report.exit_code())
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

/// Prints an optional prerequisite.
fn note(what: &str, found: Option<&Path>) {
    match found {
        Some(path) => println!("  ok    {what}: {}", path.display()),
        None => println!("  warn  {what}: not on PATH"),
    }
}

async fn check_processes(report: &mut Report, stack: &Stack) {
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
