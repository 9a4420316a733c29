//! `cargo ringfence test`: runs all tests, with services that it starts for them.

use std::path::Path;
use std::process::{ExitCode, ExitStatus};

use tokio::process::Command;

use ringfence_harness::error::{Context, Result};
use ringfence_harness::interruption::Interruption;
use ringfence_harness::local::backing::lock;
use ringfence_harness::local::environment::of_aws;
use ringfence_harness::local::layout::Layout;
use ringfence_harness::local::ministack::MiniStack;
use ringfence_harness::local::postgres::Cluster;
use ringfence_harness::local::tools::Tools;
use ringfence_harness::local::{functions, pgbouncer, progress};

/// Variables that would make a test use the local stack or a server of the developer.
const NOT_FOR_TESTS: [&str; 5] =
    ["DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_CA_PEM", "AWS_PROFILE", "AWS_SESSION_TOKEN"];

/// Runs all tests of the workspace, with PostgreSQL and queues started for them.
#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// Arguments for `cargo test --workspace`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Test {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let layout = Layout::find()?;
        let pgbouncer = pgbouncer::find()?;
        let _lock = lock(&layout, "test.lock")?;
        let mut interruption = Interruption::new()?;
        let outcome = tokio::select! {
            outcome = self.run_cargo(&layout, &pgbouncer) => outcome.map(exit_code),
            // Ctrl-C also reaches cargo and its tests.
            () = interruption.wait() => Ok(ExitCode::FAILURE),
        };
        stop(&layout).await.and(outcome)
    }

    async fn run_cargo(&self, layout: &Layout, pgbouncer: &Path) -> Result<ExitStatus> {
        let tools = Tools::install(layout).await?;
        let postgres = Cluster::of_tests(layout).start(&tools, None).await?;
        let sqs_endpoint = MiniStack::of_tests(layout).start(&tools).await?;
        functions::build(layout).await?;
        progress("Running the tests");
        let mut cargo = Command::new("cargo");
        for name in NOT_FOR_TESTS {
            cargo.env_remove(name);
        }
        cargo
            .args(["test", "--workspace"])
            .args(&self.arguments)
            .current_dir(layout.root())
            .env("RINGFENCE_TEST_DATABASE_URL", postgres.url)
            .env("RINGFENCE_TEST_PG_BIN", postgres.bin)
            .env("RINGFENCE_TEST_PGBOUNCER", pgbouncer)
            .env("RINGFENCE_TEST_SQS_ENDPOINT", &sqs_endpoint)
            .envs(of_aws(&sqs_endpoint))
            .kill_on_drop(true);
        cargo.status().await.context("run cargo test")
    }
}

async fn stop(layout: &Layout) -> Result<()> {
    let postgres = Cluster::of_tests(layout).stop().await;
    MiniStack::of_tests(layout).stop().await.and(postgres)?;
    Ok(())
}

/// Exit code of cargo; 1 if a signal ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
