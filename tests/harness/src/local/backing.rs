//! Backing services of the functions: the database and the queues.

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

/// Running backing services of the stack.
pub struct Backing {
    pub tools: Tools,
    pub secrets: Secrets,
    pub database: Database,
    pub sqs_endpoint: String,
    pub queues: Queues,
    /// Port of the viewers' gateway. The gateway may not be running yet.
    pub gateway_port: u16,
}

impl Backing {
    /// Starts the services that are not running yet.
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

    /// Stops the services that this tool started. Returns false if none was running.
    pub async fn stop(layout: &Layout) -> Result<bool> {
        let ministack = MiniStack::of_stack(layout).stop().await?;
        Ok(Database::stop(layout).await? || ministack)
    }
}

/// Waits for other runs of the tool that start or stop services in this checkout. The lock is released on drop.
pub fn lock(layout: &Layout, name: &str) -> Result<File> {
    let file = File::create(layout.run().join(name)).context("lock the stack")?;
    if file.try_lock().is_err() {
        progress("Waiting for another run of this tool");
        file.lock().context("lock the stack")?;
    }
    Ok(file)
}
