//! `ringfence doctor`: checks of a stack.

use std::process::ExitCode;

use ringfence_protocol::admin::{Command, Drift, Finding, Reply, ServerCheck};
use ringfence_vapi::OrgId;

use crate::backend::{Backend, unexpected};
use crate::error::{Error, Result};

/// Receipt times and leases use both the database's and the functions' clock.
const MOST_SKEW_MS: i64 = 60_000;

/// Checks the stack's database and queues, and the configuration of an org at Vapi
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// Also check the configuration of this org at Vapi
    #[arg(long)]
    org: Option<OrgId>,
}

impl Doctor {
    pub(crate) async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let mut report = Report::new();
        println!("The stack");
        check_stack(&mut report, backend).await;
        self.check_org(&mut report, backend).await;
        Ok(report.exit_code())
    }

    /// Checks the org, if one is given.
    pub async fn check_org(&self, report: &mut Report, backend: &impl Backend) {
        if let Some(org) = self.org {
            println!("At Vapi");
            check_vapi(report, backend, org).await;
        }
    }
}

/// Checks that functions of the stack perform.
pub async fn check_stack(report: &mut Report, backend: &impl Backend) {
    check_database(report, backend).await;
    check_inside(report, backend).await;
}

/// Findings of the checks.
pub struct Report {
    sound: bool,
}

impl Report {
    #[must_use]
    pub fn new() -> Self {
        Self { sound: true }
    }

    /// Adds a finding that must be successful.
    pub fn check(&mut self, what: &str, found: Result<String>) {
        match found {
            Ok(detail) => println!("  ok    {what}: {detail}"),
            Err(error) => {
                self.sound = false;
                println!("  FAIL  {what}: {error}");
            }
        }
    }

    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        if self.sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}

/// Checks that only a function of the stack can perform.
async fn check_inside(report: &mut Report, backend: &impl Backend) {
    match backend.command(Command::Inspect {}).await {
        Ok(Reply::Inspected { dead_letters, clock_skew_ms, drift }) => {
            let skew = format!("{clock_skew_ms} ms");
            let is_near = clock_skew_ms.abs() < MOST_SKEW_MS;
            report.check(
                "difference of the database's and the functions' clocks",
                if is_near { Ok(skew) } else { Err(Error::new(skew)) },
            );
            for (function, count) in dead_letters {
                let what = format!("dead letters of {function}");
                let found = if count == 0 { Ok("none".to_owned()) } else { Err(Error::new(format!("{count}"))) };
                report.check(&what, found);
            }
            check_drift(report, &drift);
        }
        Ok(answer) => report.check("queues", Err(unexpected(&answer))),
        Err(error) => report.check("queues", Err(error)),
    }
}

/// Reports what Vapi sends and this version does not know. Messages of unknown types wait for a version that knows them;
/// unknown fields lose nothing that this version stores.
fn check_drift(report: &mut Report, Drift { types, fields }: &Drift) {
    let list = |found: &[(String, u64)]| {
        found.iter().map(|(name, messages)| format!("{name} ({messages})")).collect::<Vec<_>>().join(", ")
    };
    let found = match types.as_slice() {
        [] => Ok("none".to_owned()),
        _ => Err(Error::new(format!("{}: update, then `replay --quarantined --run`", list(types)))),
    };
    report.check("message types that this version does not know", found);
    let found = if fields.is_empty() { "none".to_owned() } else { list(fields) };
    report.check("field names that this version does not know", Ok(found));
}

/// Checks the configuration of an org's assistants and numbers.
async fn check_vapi(report: &mut Report, backend: &impl Backend, org_id: OrgId) {
    match backend.command(Command::Connect { actor: "doctor".to_owned(), org_id, run: false }).await {
        Ok(Reply::Connected(connection)) => {
            for ServerCheck { what, wrong } in connection.found {
                let found = if wrong.is_empty() {
                    Ok("configured correctly".to_owned())
                } else {
                    Err(Error::new(wrong.join("; ")))
                };
                report.check(&what, found);
            }
        }
        Ok(answer) => report.check("Vapi", Err(unexpected(&answer))),
        Err(error) => report.check("Vapi", Err(error)),
    }
}

/// Checks of `verify.sql`.
async fn check_database(report: &mut Report, backend: &impl Backend) {
    match backend.command(Command::Verify).await {
        Ok(Reply::Verified { findings }) => {
            for Finding { check, ok } in findings {
                report.check(&check, if ok { Ok("holds".to_owned()) } else { Err(Error::new("does not hold")) });
            }
        }
        Ok(answer) => report.check("database", Err(unexpected(&answer))),
        Err(error) => report.check("database", Err(error)),
    }
}
