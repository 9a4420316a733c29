//! `ringfence failures`: the failed operations.

use std::process::ExitCode;

use ringfence_protocol::admin::{Command, FailedOperation, Reply, Selection};

use super::selection::Selected;
use crate::backend::{Administrator, Backend, unexpected};
use crate::error::{Context, Result};
use crate::table::Table;

/// Lists the events that failed and have not been applied since, newest first.
#[derive(Debug, clap::Args)]
pub struct Failures {
    #[command(flatten)]
    selected: Selected,
    /// Include events that have been applied since
    #[arg(long)]
    resolved: bool,
    /// Maximum number of events
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    /// Close the failure of this interrupted tool call, after you have found out its result (RF7008)
    #[arg(long, value_name = "EVENT", requires = "org")]
    resolve: Option<String>,
    #[command(flatten)]
    administrator: Administrator,
}

impl Failures {
    pub async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        let selection: Selection = self.selected.into();
        if let (Some(event_id), Some(org_id)) = (self.resolve, selection.org_id) {
            let command = |actor| Command::SettleToolCall { actor, org_id, event_id };
            let reply = self.administrator.perform(backend, command).await?;
            let Reply::Done {} = reply else { return Err(unexpected(&reply)) };
            println!("The failure is closed.");
            return Ok(ExitCode::SUCCESS);
        }
        let command = Command::ListFailures { selection, resolved: self.resolved, limit: self.limit };
        let reply = self.administrator.perform(backend, |_| command).await?;
        let Reply::Failures { operations } = reply else { return Err(unexpected(&reply)) };
        if self.json {
            println!("{}", serde_json::to_string_pretty(&operations).context("write JSON")?);
        } else {
            print(&operations);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(operations: &[FailedOperation]) {
    if operations.is_empty() {
        println!("No failed events.");
        return;
    }
    let mut table = Table::new(["code", "state", "function", "org", "attempts", "last failed", "event"]);
    for operation in operations {
        let FailedOperation { code, state, function, org_id, attempts, last_failed_at, event_id, .. } = operation;
        table.row([
            code.clone(),
            if operation.is_event_removed { format!("{state}, event removed") } else { state.clone() },
            function.clone(),
            org_id.to_string(),
            attempts.to_string(),
            format!("{last_failed_at:.0}"),
            event_id.clone(),
        ]);
    }
    print!("{table}");
    if operations.iter().any(|operation| operation.is_event_removed) {
        println!("A removed event is older than its org's retention. It can be neither redriven nor replayed.");
    }
    println!("docs/failure-codes describes each code.");
}
