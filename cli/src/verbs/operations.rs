//! `ringfence operations`: redrives and replays with their progress.

use std::process::ExitCode;
use std::time::Duration;

use ringfence_protocol::admin::{Command, Operation, OperationState, Reply};
use ringfence_vapi::OrgId;
use uuid::Uuid;

use crate::backend::{Administrator, Backend, unexpected};
use crate::error::{Context, Error, Result};
use crate::table::Table;

/// Interval at which the progress of an operation is read.
const POLL: Duration = Duration::from_secs(2);

/// Lists redrives and replays with their progress, newest first.
#[derive(Debug, clap::Args)]
pub struct Operations {
    /// Only operations of this org
    #[arg(long)]
    org: Option<OrgId>,
    /// Maximum number of operations
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(i64).range(1..=1_000))]
    limit: i64,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    administrator: Administrator,
}

impl Operations {
    pub async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let operations = list(backend, &self.administrator, None, self.org, self.limit).await?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&operations).context("write JSON")?);
        } else {
            print(&operations);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Starts an operation and shows its progress until it ends. Several invocations work on a long operation. It continues
/// if this tool is stopped.
pub(crate) async fn follow(
    backend: &impl Backend,
    administrator: &Administrator,
    start: impl FnOnce(String, Uuid) -> Command,
) -> Result<ExitCode> {
    let id = Uuid::new_v4();
    let mut starting = Box::pin(administrator.perform(backend, |actor| start(actor, id)));
    let mut shown = None;
    let mut operation = loop {
        tokio::select! {
            reply = &mut starting => match reply? {
                Reply::Operation(operation) => break operation,
                reply => return Err(unexpected(&reply)),
            },
            () = tokio::time::sleep(POLL) => {
                // The operation has no row until its events are counted.
                for operation in list(backend, administrator, Some(id), None, 1).await? {
                    show(&operation, &mut shown);
                }
            }
        }
    };
    while operation.state == OperationState::Running {
        show(&operation, &mut shown);
        tokio::time::sleep(POLL).await;
        let found = list(backend, administrator, Some(id), None, 1).await?.pop();
        operation = found.ok_or_else(|| Error::new(format!("the operation {id} does not exist any more")))?;
    }
    println!("  done       {}", operation.done);
    if operation.failed > 0 {
        println!("  failed     {}; the log contains the code of each", operation.failed);
    }
    if let Some(remaining @ 1..) = operation.remaining {
        println!("  remaining  {remaining}");
    }
    match operation.state {
        OperationState::Failed => {
            Err(Error::new(format!("the operation {id} was stopped, because it did not advance")))
        }
        _ if operation.failed > 0 => Ok(ExitCode::FAILURE),
        _ => Ok(ExitCode::SUCCESS),
    }
}

async fn list(
    backend: &impl Backend,
    administrator: &Administrator,
    id: Option<Uuid>,
    org_id: Option<OrgId>,
    limit: i64,
) -> Result<Vec<Operation>> {
    let reply = administrator.perform(backend, |_| Command::ListOperations { id, org_id, limit }).await?;
    match reply {
        Reply::Operations { operations } => Ok(operations),
        reply => Err(unexpected(&reply)),
    }
}

/// Prints a line unless it is equal to the last one.
fn show(operation: &Operation, shown: &mut Option<String>) {
    let Operation { kind, done, failed, .. } = operation;
    let line = format!("{kind}: {done} done, {failed} failed, {} remaining", remaining(operation));
    if shown.as_ref() != Some(&line) {
        eprintln!("  {line}");
        *shown = Some(line);
    }
}

fn remaining(operation: &Operation) -> String {
    operation.remaining.map_or_else(|| "?".to_owned(), |remaining| remaining.to_string())
}

fn print(operations: &[Operation]) {
    if operations.is_empty() {
        println!("No redrives or replays.");
        return;
    }
    let columns = ["operation", "kind", "state", "done", "failed", "remaining", "started", "org", "actor"];
    let mut table = Table::new(columns);
    for operation in operations {
        let Operation { id, kind, state, done, failed, created_at, org_id, actor, .. } = operation;
        table.row([
            id.to_string(),
            kind.to_string(),
            state.to_string(),
            done.to_string(),
            failed.to_string(),
            remaining(operation),
            format!("{created_at:.0}"),
            org_id.map_or_else(|| "all".to_owned(), |org| org.to_string()),
            actor.clone(),
        ]);
    }
    print!("{table}");
}
