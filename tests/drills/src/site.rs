//! Stack of a drill: its own database, queues and functions, with a proxy in front of the database and one in front of
//! the queues, so that each can fail independently.

use std::path::PathBuf;
use std::time::Duration;

use admin::Administration;
use reqwest::Url;
use ringfence_protocol::admin::{Command, Reply};
use ringfence_runtime::Environment as Settings;
use ringfence_vapi::Function;
use strum::IntoEnumIterator as _;
use tokio::task::JoinHandle;

use ringfence_cli::backend::unexpected;
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::lambda::{FunctionSpec, Host};
use ringfence_harness::local::database::{self, Database};
use ringfence_harness::local::environment::{Environment, of_aws, of_waiting_work};
use ringfence_harness::local::layout::Layout;
use ringfence_harness::local::ministack::MiniStack;
use ringfence_harness::local::postgres::Cluster;
use ringfence_harness::local::queues::{self, Queues, Timing};
use ringfence_harness::local::secrets::Secrets;
use ringfence_harness::local::tools::Tools;
use ringfence_harness::local::{buckets, functions, progress, pump};
use ringfence_harness::testing::Proxy;
use ringfence_simulate::Target;

const DATABASE: &str = "drill";
/// Shorter times than in the template, so that a drill takes less time.
const TIMING: Timing = Timing { visibility_seconds: 15 };
const RETRY_WAIT_CAP_SECONDS: &str = "1";
const WEBHOOK_ENVIRONMENTS: usize = 8;
const EVENT_ENVIRONMENTS: usize = 2;
/// As in the template.
const TIMEOUT: Duration = Duration::from_mins(1);
const RECORDING_TIMEOUT: Duration = Duration::from_mins(5);
const MEMORY_MB: u32 = 256;

/// A running stack for one drill.
pub(crate) struct Site<'a> {
    layout: &'a Layout,
    tools: Tools,
    secrets: Secrets,
    /// Proxy in front of PostgreSQL, for the functions only.
    pub to_database: Proxy,
    /// Proxy in front of SQS, for the functions only.
    pub to_sqs: Proxy,
    pub host: Host,
    /// URL of the superuser, without the proxy.
    pub owner_url: String,
    pub sqs: aws_sdk_sqs::Client,
    pub s3: aws_sdk_s3::Client,
    pub queues: Queues,
    pub administration: Administration,
    pump: JoinHandle<Result<()>>,
}

impl<'a> Site<'a> {
    /// Starts all services, with an empty database and empty queues.
    pub(crate) async fn start(layout: &'a Layout) -> Result<Self> {
        let (tools, secrets) = (Tools::install(layout).await?, Secrets::of(layout)?);
        functions::build(layout).await?;
        let server = Cluster::of_drills(layout).start(&tools, Some(&secrets.superuser_password)).await?;
        let database = Database::replace(&server.url, DATABASE, &secrets).await?;
        database::migrate(&database.owner_url, &secrets.app_password).await?;
        let to_database = Proxy::start_before_port(port(&database.owner_url)?).await;

        let sqs_endpoint = MiniStack::of_drills(layout).start(&tools).await?;
        let sqs = queues::client(&sqs_endpoint);
        let queues = queues::create(&sqs, TIMING).await?;
        let s3 = buckets::client(&sqs_endpoint);
        buckets::create(&s3).await?;
        let to_sqs = Proxy::start_before_port(port(&sqs_endpoint)?).await;

        let mut variables = vec![
            ("DATABASE_URL".to_owned(), at_port(&database.app_url, to_database.port())?),
            ("RINGFENCE_KEYS".to_owned(), secrets.keys_variable()?),
            ("RETRY_WAIT_CAP_SECONDS".to_owned(), RETRY_WAIT_CAP_SECONDS.to_owned()),
            ("RUST_LOG".to_owned(), "warn".to_owned()),
        ];
        variables.extend(of_waiting_work(&queues));
        // A drill has no viewers.
        variables.push(("CONNECTIONS_ENDPOINT".to_owned(), "http://127.0.0.1:1".to_owned()));
        // Endpoints and recordings of a drill are on this machine.
        variables.push(("EGRESS_POLICY".to_owned(), "anywhere".to_owned()));
        variables.push(("RECORDING_HOSTS".to_owned(), "127.0.0.1".to_owned()));
        variables.extend(of_aws(&at_port(&sqs_endpoint, to_sqs.port())?));
        progress("Starting the functions");
        let host = Host::start(&specs(layout, &variables)?).await?;
        let (client, of_pump, base_url) = (sqs.clone(), queues.clone(), host.base_url());
        let pump = tokio::spawn(async move { pump::run(&client, &of_pump, &base_url).await });
        let administration = administration(&database.owner_url, &secrets, &host, &queues, &sqs_endpoint)?;
        let owner_url = database.owner_url;
        Ok(Self { layout, tools, secrets, to_database, to_sqs, host, owner_url, sqs, s3, queues, administration, pump })
    }

    /// Stops all services.
    pub(crate) async fn stop(self) -> Result<()> {
        self.pump.abort();
        self.host.stop().await;
        stop_services(self.layout).await
    }

    /// Creates an org and returns its webhook.
    pub(crate) async fn create_org(&self, name: &str) -> Result<Target> {
        let act = Command::CreateOrganization { actor: "drill".to_owned(), name: name.to_owned() };
        let answer = self.administration.perform(act).await.context("create an org")?;
        let Reply::Organization(org) = answer else { return Err(unexpected(&answer)) };
        Ok(Target { org: org.id, key: org.key, webhook_url: org.webhook_url })
    }

    /// Stops PostgreSQL.
    pub(crate) async fn stop_database(&self) -> Result<()> {
        Cluster::of_drills(self.layout).stop().await.map(drop)
    }

    /// Starts PostgreSQL again at the same port.
    pub(crate) async fn start_database(&self) -> Result<()> {
        let server = Cluster::of_drills(self.layout).start(&self.tools, Some(&self.secrets.superuser_password)).await?;
        if port(&server.url)? == port(&self.owner_url)? {
            return Ok(());
        }
        Err(Error::new("PostgreSQL could not be started at its port again: another program has taken it"))
    }

    /// Kills every process of every function.
    pub(crate) async fn kill_functions(&self) {
        for name in names() {
            self.host.kill(&name).await;
        }
    }

    /// Numbers of messages on all retry queues and on all dead-letter queues.
    pub(crate) async fn depths(&self) -> Result<(u64, u64)> {
        let (mut waiting, mut dead) = (0, 0);
        for function in Function::iter() {
            waiting += queues::depth(&self.sqs, &self.queues[&queues::retry_queue(function)]).await?;
            dead += queues::depth(&self.sqs, &self.queues[&queues::dead_letter_queue(function)]).await?;
        }
        Ok((waiting, dead))
    }
}

/// Stops services that an earlier site has left running.
pub(crate) async fn stop_services(layout: &Layout) -> Result<()> {
    let database = Cluster::of_drills(layout).stop().await;
    MiniStack::of_drills(layout).stop().await.and(database)?;
    Ok(())
}

fn names() -> impl Iterator<Item = String> {
    std::iter::once("webhook".to_owned()).chain(queues::consumers())
}

/// The binaries are in the folder of this tool's binary, because both are built as one workspace.
fn specs(layout: &Layout, variables: &Environment) -> Result<Vec<FunctionSpec>> {
    let own = std::env::current_exe().context("find the functions' binaries")?;
    let folder = own.parent().map(PathBuf::from).unwrap_or_default();
    let spec = |name: String| FunctionSpec {
        binary: folder.join(&name),
        environments: if name == "webhook" { WEBHOOK_ENVIRONMENTS } else { EVENT_ENVIRONMENTS },
        memory_mb: MEMORY_MB,
        timeout: if name == queues::RECORDINGS { RECORDING_TIMEOUT } else { TIMEOUT },
        variables: variables.clone(),
        log: layout.logs().join(format!("drill-{name}.log")),
        name,
    };
    Ok(names().map(spec).collect())
}

fn administration(
    owner_url: &str,
    secrets: &Secrets,
    host: &Host,
    queues: &Queues,
    sqs_endpoint: &str,
) -> Result<Administration> {
    let waiting = of_waiting_work(queues);
    let settings = Settings::from_fn(|name| match name {
        "DATABASE_OWNER_URL" => Some(owner_url.to_owned()),
        "RINGFENCE_APP_PASSWORD" => Some(secrets.app_password.clone()),
        "RINGFENCE_MASTER_KEYS" => Some(secrets.master_keys_variable()),
        "PUBLIC_BASE_URL" => Some(host.base_url()),
        name => waiting.iter().find(|(variable, _)| variable == name).map(|(_, url)| url.clone()),
    });
    let (sqs, s3) = (queues::client(sqs_endpoint), buckets::client(sqs_endpoint));
    Administration::from_environment(&settings, &sqs, s3).context("administer the drill's database")
}

fn port(url: &str) -> Result<u16> {
    let port = Url::parse(url).ok().and_then(|url| url.port());
    port.ok_or_else(|| Error::new("a local URL has no port"))
}

fn at_port(url: &str, port: u16) -> Result<String> {
    let mut url = Url::parse(url).context("read a local URL")?;
    url.set_port(Some(port)).map_err(|()| Error::new("a local URL has no host"))?;
    Ok(url.to_string())
}
