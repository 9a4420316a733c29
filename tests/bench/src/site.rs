//! Stack of the benchmark: a `PostgreSQL` server with fsync and TLS, and a migrated database with one org. The queues
//! have names only, since no webhook of the benchmark fails.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfence_identity::Subject;
use ringfence_vapi::OrgId;
use tokio_postgres::Client;
use uuid::Uuid;

use super::history;
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::lambda::FunctionSpec;
use ringfence_harness::local::database::{self, Database};
use ringfence_harness::local::environment::{Environment, of_aws, of_waiting_work};
use ringfence_harness::local::layout::Layout;
use ringfence_harness::local::postgres::Cluster;
use ringfence_harness::local::queues::{Queues, consumers, dead_letters_of, queue_of};
use ringfence_harness::local::secrets::Secrets;
use ringfence_harness::local::tools::Tools;
use ringfence_harness::local::{command, connection};
use ringfence_harness::process_usage as process;

const DATABASE: &str = "bench";
/// Host name in the server's certificate. No name is resolved: the URL contains the address.
const HOST: &str = "db.bench.example";
/// An address on which no server listens.
const NOWHERE: &str = "http://127.0.0.1:9";
/// Timeout of functions behind queues, as in the template. With a shorter one, the function would leave the second
/// event of a batch for later.
const TIMEOUT: Duration = Duration::from_mins(1);
const MEMORY_MB: u32 = 256;
/// Core of the pinned server.
pub(super) const SERVER_CORE: &str = "0";
/// Core of all other pinned processes.
pub(super) const LOAD_CORE: &str = "1";
/// The assistant and, for each client of a load, the leads of the sample calls.
const ORG: &str = "
    INSERT INTO organizations (id, name) VALUES ($1, 'Bench')";
const KEY: &str = "INSERT INTO organization_keys (org_id, version) VALUES ($1, 1)";
const AGENT: &str = "
    INSERT INTO agents (org_id, name, vapi_assistant_id) VALUES ($1, 'Front desk', '4dac6abb-472a-4a1d-8f6c-c2ed74e2cf44')";
const LEADS: &str = "
    INSERT INTO leads (org_id, phone) SELECT $1, '+1' || (2000000000 + n) FROM generate_series(0, 63999) AS n";

/// A running server, a database on it, and an org.
#[derive(Clone)]
pub(super) struct Site<'a> {
    pub(super) layout: &'a Layout,
    pub(super) secrets: Secrets,
    /// URL of the superuser for the server.
    server_url: String,
    /// URL of the superuser for the database.
    pub(super) owner_url: String,
    /// URL of the functions' role, without TLS, like pgbench's.
    pub(super) app_url: String,
    /// Folder of `PostgreSQL`'s programs.
    pub(super) bin: PathBuf,
    /// Process id of the server.
    pub(super) server: u32,
    pub(super) org: OrgId,
    /// Key of the org.
    pub(super) key: String,
    /// CA certificate for the server, PEM.
    ca_pem: String,
}

impl<'a> Site<'a> {
    /// Starts all services, with a database of its own.
    pub(super) async fn start(layout: &'a Layout) -> Result<Self> {
        let (tools, secrets) = (Tools::install(layout).await?, Secrets::of(layout)?);
        let cluster = Cluster::of_bench(layout);
        let server = cluster.start(&tools, Some(&secrets.superuser_password)).await?;
        let ca_pem = turn_tls_on(&server.url, &server.data).await?;
        let record = cluster.service().running()?.ok_or_else(|| Error::new("PostgreSQL has just ended"))?;
        let site = Self {
            layout,
            secrets,
            server_url: server.url,
            owner_url: String::new(),
            app_url: String::new(),
            bin: server.bin,
            server: record.pid.cast_unsigned(),
            org: OrgId::from(Uuid::nil()),
            key: String::new(),
            ca_pem,
        };
        site.on(DATABASE).await
    }

    /// The same server with another database, which contains an org, some tenants and some calls.
    pub(super) async fn on(&self, name: &str) -> Result<Self> {
        let database = Database::replace(&self.server_url, name, &self.secrets).await?;
        database::migrate(&database.owner_url, &self.secrets.app_password).await?;
        let org = OrgId::from(Uuid::new_v4());
        let client = connection::open(&database.owner_url).await?;
        for statement in [ORG, KEY, AGENT, LEADS] {
            client.execute(statement, &[org.as_uuid()]).await.context("make the bench's org")?;
        }
        history::begin(&client, org).await?;
        let key = self.secrets.master_keys()?.mint(Subject::Org(org), 1).expose().to_owned();
        Ok(Self { owner_url: database.owner_url, app_url: database.app_url, org, key, ..self.clone() })
    }

    /// An empty database on the same server, without tables; the superuser's URL.
    pub(super) async fn empty_database(&self, name: &str) -> Result<String> {
        Ok(Database::replace(&self.server_url, name, &self.secrets).await?.owner_url)
    }

    /// A connection of the superuser.
    pub(super) async fn superuser(&self) -> Result<Client> {
        connection::open(&self.owner_url).await
    }

    /// Pins the server and the load to separate cores, or lets both run on all cores.
    pub(super) fn pin(&self, apart: bool) -> Result<()> {
        let all = format!("0-{}", std::thread::available_parallelism().map_or(1, usize::from).max(2) - 1);
        let (server, load) = if apart { (SERVER_CORE, LOAD_CORE) } else { (all.as_str(), all.as_str()) };
        // The server is a child of this process, so it must be pinned last.
        process::pin(std::process::id(), load)?;
        process::pin(self.server, server)
    }

    /// A function with a number of environments, which connects to the database at `url`.
    pub(super) fn function(&self, name: &str, environments: usize, url: &str) -> Result<FunctionSpec> {
        let log = self.layout.logs().join(format!("bench-{name}.log"));
        Ok(FunctionSpec {
            binary: binary(name)?,
            environments,
            memory_mb: MEMORY_MB,
            timeout: TIMEOUT,
            variables: self.variables(url, NOWHERE)?,
            log,
            name: name.to_owned(),
        })
    }

    /// A function under load. Its log is discarded: in AWS it is not written to `PostgreSQL`'s disk, where it would
    /// slow down commits.
    pub(super) fn loaded(&self, name: &str, environments: usize) -> Result<FunctionSpec> {
        let spec = self.function(name, environments, &self.app_url)?;
        Ok(FunctionSpec { log: PathBuf::from("/dev/null"), ..spec })
    }

    /// Environment variables of the functions, with the database at `url` and AWS at `endpoint`.
    pub(super) fn variables(&self, url: &str, endpoint: &str) -> Result<Environment> {
        let mut variables = vec![
            ("DATABASE_URL".to_owned(), url.to_owned()),
            ("DATABASE_OWNER_URL".to_owned(), self.owner_url.clone()),
            ("DATABASE_CA_PEM".to_owned(), self.ca_pem.clone()),
            ("SSL_CERT_FILE".to_owned(), "/dev/null".to_owned()),
            ("RINGFENCE_APP_PASSWORD".to_owned(), self.secrets.app_password.clone()),
            ("RINGFENCE_MASTER_KEYS".to_owned(), self.secrets.master_keys_variable()),
            ("RINGFENCE_KEYS".to_owned(), self.secrets.keys_variable()?),
        ];
        variables.extend(of_waiting_work(&queues()));
        // The benchmark has no viewers here.
        variables.push(("CONNECTIONS_ENDPOINT".to_owned(), NOWHERE.to_owned()));
        // Endpoint of the benchmark is on this machine.
        variables.push(("EGRESS_POLICY".to_owned(), "anywhere".to_owned()));
        variables.extend(of_aws(endpoint));
        Ok(variables)
    }

    /// URL of the functions' role with a remote host name, so that they require TLS.
    pub(super) fn tls_url(&self) -> String {
        let url = self.app_url.replace("@127.0.0.1:", &format!("@{HOST}:"));
        format!("{url}?hostaddr=127.0.0.1")
    }
}

/// Stops the services of a benchmark.
pub(super) async fn stop(layout: &Layout) -> Result<()> {
    Cluster::of_bench(layout).stop().await.map(drop)
}

/// A binary of the workspace, in the folder of this tool's binary.
pub(super) fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the functions' binaries")?;
    Ok(own.with_file_name(name))
}

/// URLs of queues that receive no messages.
fn queues() -> Queues {
    let names = consumers().flat_map(|consumer| [queue_of(&consumer), dead_letters_of(&consumer)]);
    names.map(|name| (name.clone(), format!("{NOWHERE}/000000000000/{name}"))).collect()
}

/// Creates a self-signed certificate for the server, and returns it as the CA certificate.
async fn turn_tls_on(superuser_url: &str, data: &Path) -> Result<String> {
    let mut openssl = tokio::process::Command::new("openssl");
    openssl
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"])
        .args(["-subj", &format!("/CN={HOST}"), "-addext", &format!("subjectAltName=DNS:{HOST}")])
        .arg("-keyout")
        .arg(data.join("server.key"))
        .arg("-out")
        .arg(data.join("server.crt"));
    command::output(&mut openssl, "make a certificate with openssl").await?;
    if let Some(account) = ringfence_harness::local::account::Account::for_postgres() {
        account.own(&data.join("server.key"))?;
    }
    let client = connection::open(superuser_url).await?;
    for statement in ["ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"] {
        client.batch_execute(statement).await.context("turn TLS on")?;
    }
    std::fs::read_to_string(data.join("server.crt")).context("read the server's certificate")
}
