//! `up --deployed`: builds the template with SAM, deploys it to a local cloud, and verifies the deployed stack.
//!
//! The cloud is MiniStack, which runs the functions, the event source mappings and the HTTP API. The database is a
//! separate one on the local stack's server. Each run starts with an empty account and database, so it verifies a first
//! deployment.

mod cloud;
mod proof;
mod recordings;
mod retries;
mod sam;
mod secrets;
mod tools;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use self::cloud::Cloud;
use self::proof::Proof;
pub(crate) use self::sam::check_template;
use self::tools::SamTools;
use ringfence_harness::error::{Error, Result};
use ringfence_harness::interruption::Interruption;
use ringfence_harness::local::backing::lock;
use ringfence_harness::local::database::Database;
use ringfence_harness::local::json_file;
use ringfence_harness::local::layout::{Layout, remove};
use ringfence_harness::local::organization::Org;
use ringfence_harness::local::postgres::Cluster;
use ringfence_harness::local::secrets::Secrets;
use ringfence_harness::local::tools::Tools;

/// Name of the stack, which is the prefix of the functions' and queues' names.
const STACK: &str = "ringfence";
/// Name of the database. An existing database of this name is replaced.
const DATABASE: &str = "ringfence_deployed";

/// Addresses of the deployed stack. `up` writes them to `target/ringfence/deployed.json` after the verification; `down`
/// removes the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Deployment {
    pub(crate) stack: String,
    pub(crate) base_url: String,
    /// Webhook URL of [`Deployment::org`].
    pub(crate) webhook_url: String,
    pub(crate) health_url: String,
    /// URL of the owner.
    pub(crate) database_url: String,
    /// Value of `AWS_ENDPOINT_URL` for AWS tools.
    pub(crate) aws_endpoint: String,
    pub(crate) org: Org,
    /// Outputs of the stack. Outputs with API Gateway's host do not apply to the local cloud.
    pub(crate) outputs: BTreeMap<String, String>,
}

/// Builds, deploys and verifies the stack, and leaves it running. On failure, stops all started services.
pub(crate) async fn up(layout: &Layout) -> Result<Deployment> {
    if !cfg!(target_os = "linux") {
        return Err(Error::new("a deployed function is a program for Linux: `up --deployed` needs Linux to run it"));
    }
    let mut interruption = Interruption::new()?;
    let database_ran = Cluster::of_stack(layout).service().running()?.is_some();
    let outcome = tokio::select! {
        outcome = build_and_deploy(layout) => outcome,
        () = interruption.wait() => Err(Error::new("interrupted")),
    };
    if outcome.is_err() {
        stop(layout).await?;
        if !database_ran {
            Database::stop(layout).await?;
        }
    }
    outcome
}

/// Stops the deployed stack but not its database. Returns false if there was no stack.
pub(crate) async fn stop(layout: &Layout) -> Result<bool> {
    remove(&path(layout))?;
    Cloud::of(layout).stop().await
}

async fn build_and_deploy(layout: &Layout) -> Result<Deployment> {
    let tools = Tools::install(layout).await?;
    let sam_tools = SamTools::install(layout).await?;
    sam::build(layout, &tools, &sam_tools).await?;
    let _lock = lock(layout, "stack.lock")?;
    stop(layout).await?;
    let deployment = deploy(layout, &tools, &sam_tools)
        .await
        .map_err(|error| Error::new(format!("{error}\n{}", Cloud::of(layout).log_tail())))?;
    json_file::write(&path(layout), &deployment)?;
    Ok(deployment)
}

async fn deploy(layout: &Layout, tools: &Tools, sam_tools: &SamTools) -> Result<Deployment> {
    let secrets = Secrets::of(layout)?;
    let database = Database::start_empty(layout, tools, &secrets, DATABASE).await?;
    let aws_endpoint = Cloud::of(layout).start(sam_tools).await?;
    let parameters = secrets::create(&aws_endpoint, &database, &secrets).await?;
    sam::adapt_template(layout, &aws_endpoint)?;
    sam::deploy(layout, sam_tools, &aws_endpoint, &parameters).await?;
    let outputs = sam::outputs(layout, sam_tools, &aws_endpoint).await?;
    let api = outputs.get("HttpApiId").ok_or_else(|| Error::new("the stack has no output HttpApiId"))?;
    let base_url = format!("{aws_endpoint}/_aws/execute-api/{api}");
    println!("  ok    deployed: the stack {STACK}, {} outputs", outputs.len());

    let proof = Proof {
        base_url: &base_url,
        aws_endpoint: &aws_endpoint,
        database_url: &database.owner_url,
        outputs: &outputs,
    };
    let org = proof.carry_out(&secrets).await?;
    Ok(Deployment {
        stack: STACK.to_owned(),
        webhook_url: format!("{base_url}/vapi/{}", org.id),
        health_url: format!("{base_url}/health"),
        database_url: database.owner_url,
        base_url,
        aws_endpoint,
        org,
        outputs,
    })
}

fn path(layout: &Layout) -> PathBuf {
    layout.path("deployed.json")
}
