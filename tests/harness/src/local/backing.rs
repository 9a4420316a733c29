//! What the functions stand on: the database and the queues.

use std::fs::File;

use super::database::Database;
use super::gateway::Gateway;
use super::layout::Layout;
use super::ministack::MiniStack;
use super::queues::{self, Queues, Timing};
use super::secrets::Secrets;
use super::tools::Tools;
use super::{buckets, progress};
use crate::error::{Context, Result};

/// The backing services of the stack, running.
pub struct Backing {
    pub tools: Tools,
    pub secrets: Secrets,
    pub database: Database,
    pub sqs_endpoint: String,
    pub queues: Queues,
    /// Where the gateway of viewers listens, or will.
    pub gateway_port: u16,
}

impl Backing {
    /// Starts what is not running yet.
    pub async fn start(layout: &Layout) -> Result<Self> {
        let tools = Tools::install(layout).await?;
        let secrets = Secrets::of(layout)?;
        let database = Database::start(layout, &tools, &secrets).await?;
        let sqs_endpoint = MiniStack::of_stack(layout).start(&tools).await?;
        buckets::create(&buckets::client(&sqs_endpoint)).await?;
        let queues = queues::create(&queues::client(&sqs_endpoint), Timing::DEPLOYED).await?;
        let gateway_port = Gateway::of(layout).port()?;
        Ok(Self { tools, secrets, database, sqs_endpoint, queues, gateway_port })
    }

    /// Stops everything of ours. False: nothing was running.
    pub async fn stop(layout: &Layout) -> Result<bool> {
        let ministack = MiniStack::of_stack(layout).stop().await?;
        Ok(Database::stop(layout).await? || ministack)
    }
}

/// Waits for other runs of the tool that start or stop things in this checkout. Released when dropped.
pub fn lock(layout: &Layout, name: &str) -> Result<File> {
    let file = File::create(layout.run().join(name)).context("lock the stack")?;
    if file.try_lock().is_err() {
        progress("Waiting for another run of this tool");
        file.lock().context("lock the stack")?;
    }
    Ok(file)
}
