//! `cargo ringfence up`: the local stack.

use std::process::ExitCode;
use std::time::Duration;

use crate::demonstration::demonstrate;
use crate::deployed;
use ringfence_harness::error::{Error, Result};
use ringfence_harness::interruption::Interruption;
use ringfence_harness::local::backing::lock;
use ringfence_harness::local::layout::Layout;
use ringfence_harness::local::progress;
use ringfence_harness::local::stack::Stack;

const CHECK_EVERY: Duration = Duration::from_secs(2);

/// Sets up and starts all local services: PostgreSQL, queues, functions. Sends one simulated call and prints its rows.
#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// Return when all services answer, and leave them running until `cargo ringfence down`
    #[arg(long)]
    detach: bool,
    /// Deploy template.yaml with SAM to a separate local cloud instead, verify it, and leave it running until `cargo
    /// ringfence down`. Its database `ringfence_deployed` is replaced
    #[arg(long)]
    deployed: bool,
}

impl Up {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let layout = Layout::find()?;
        if self.deployed {
            return up_deployed(&layout).await;
        }
        if let Some(stack) = Stack::running(&layout)? {
            println!("The local stack is up already.");
            print(&layout, &stack);
            return Ok(ExitCode::SUCCESS);
        }
        let mut interruption = Interruption::new()?;
        let started = tokio::select! {
            started = start(&layout) => started,
            () = interruption.wait() => Err(Error::new("interrupted")),
        };
        let stack = match started {
            Ok(stack) => stack,
            // The services that did start are of no use alone.
            Err(error) => return stop(&layout).await.and(Err(error)),
        };
        print(&layout, &stack);
        if self.detach {
            println!("Stop it with `cargo ringfence down`.");
            return Ok(ExitCode::SUCCESS);
        }
        println!("Stop it with Ctrl-C.");
        let ended = tokio::select! {
            ended = wait_for_end(&layout, &stack) => ended,
            () = interruption.wait() => Ok(()),
        };
        stop(&layout).await.and(ended)?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn up_deployed(layout: &Layout) -> Result<ExitCode> {
    let deployment = deployed::up(layout).await?;
    println!("\n  webhook of org {}", deployment.org.id);
    println!("      URL     {}", deployment.webhook_url);
    println!("      key     {}", deployment.org.key);
    println!("  health      {}", deployment.health_url);
    println!("  AWS tools   {}", deployment.aws_endpoint);
    println!("  all of it   {}\n", layout.path("deployed.json").display());
    println!("Stop it with `cargo ringfence down`.");
    Ok(ExitCode::SUCCESS)
}

async fn start(layout: &Layout) -> Result<Stack> {
    let _lock = lock(layout, "stack.lock")?;
    let stack = Stack::start(layout).await?;
    demonstrate(layout, &stack).await?;
    Ok(stack)
}

async fn stop(layout: &Layout) -> Result<()> {
    progress("Stopping the local stack");
    let _lock = lock(layout, "stack.lock")?;
    Stack::stop(layout).await?;
    Ok(())
}

/// Returns when a process of the stack has ended, by another `down` or by a fault.
async fn wait_for_end(layout: &Layout, stack: &Stack) -> Result<()> {
    loop {
        tokio::time::sleep(CHECK_EVERY).await;
        if let Some(name) = stack.ended(layout)? {
            return Err(Error::new(format!("{name} has ended; its log is in {}", layout.logs().display())));
        }
    }
}

fn print(layout: &Layout, stack: &Stack) {
    println!();
    println!("  webhook of org {}", stack.org.id);
    println!("      URL     {}", stack.webhook_url);
    println!("      key     {}", stack.org.key);
    println!("  webhook of the platform");
    println!("      URL     {}", stack.platform.url);
    println!("      key     {}", stack.platform.key);
    println!("  health      {}", stack.health_url);
    println!(
        "  console     {}/console, with a link of `cargo ringfence console --org {}`",
        stack.base_url, stack.org.id
    );
    println!("  viewers     {}", stack.live_url);
    println!("  database    {}", stack.database_url);
    println!("  queues      {}", stack.sqs_endpoint);
    println!("  logs        {}", layout.logs().display());
    println!("  all of it   {}", layout.path("local.json").display());
    println!();
}
