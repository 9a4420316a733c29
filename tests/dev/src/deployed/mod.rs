//! `up --deployed`: the template, built by SAM, really deployed, and tried there.
//!
//! The cloud is MiniStack, which runs the functions, their queues' mappings and the HTTP API; the database is one of its own on
//! the local stack's server. Everything is made from nothing each time: what is proven is a first deployment.

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

/// The stack's name, which its functions' and queues' names begin with.
const STACK: &str = "ringfence";
/// The database's name. What has this name on the server is replaced.
const DATABASE: &str = "ringfence_deployed";

/// Where the deployed stack is. Written to `target/ringfence/deployed.json` when it is proven to work, removed by `down`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Deployment {
    pub(crate) stack: String,
    pub(crate) base_url: String,
    /// Where Vapi would post the events of [`Deployment::org`].
    pub(crate) webhook_url: String,
    pub(crate) health_url: String,
    /// The owner's URL.
    pub(crate) database_url: String,
    /// What AWS tools need as `AWS_ENDPOINT_URL`.
    pub(crate) aws_endpoint: String,
    pub(crate) org: Org,
    /// The stack's outputs. Those with API Gateway's host are of no use here: it has another one.
    pub(crate) outputs: BTreeMap<String, String>,
}

/// Builds, deploys and tries the stack, and leaves it running. When something fails, all that was started is stopped.
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

/// Stops the deployed stack; its database stays. False: there was none.
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
    sam::lead_to_connections(layout, &aws_endpoint)?;
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
