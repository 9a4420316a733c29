//! Where the bench takes place: a `PostgreSQL` server with fsync on and TLS, a migrated database with one org in it, and nothing
//! else. The queues are only named: no webhook of the bench fails.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfence_identity::Subject;
use ringfence_vapi::OrgId;
use tokio_postgres::Client;
use uuid::Uuid;

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
/// The name that the server's certificate is for. No name is resolved: the URL says where it is.
const HOST: &str = "db.bench.example";
/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:9";
/// As the template has it for functions behind queues. With less a batch's second event is left for later.
const TIMEOUT: Duration = Duration::from_mins(1);
const MEMORY_MB: u32 = 256;
/// Where the server runs when it is pinned.
pub(super) const SERVER_CORE: &str = "0";
/// Where everything else does.
pub(super) const LOAD_CORE: &str = "1";
/// The assistant and, for each client of a load, the leads of the sample calls.
const ORG: &str = "
    INSERT INTO organizations (id, name) VALUES ($1, 'Bench')";
const KEY: &str = "INSERT INTO organization_keys (org_id, version) VALUES ($1, 1)";
const AGENT: &str = "
    INSERT INTO agents (org_id, name, vapi_assistant_id) VALUES ($1, 'Front desk', '4dac6abb-472a-4a1d-8f6c-c2ed74e2cf44')";
const LEADS: &str = "
    INSERT INTO leads (org_id, phone) SELECT $1, '+1' || (2000000000 + n) FROM generate_series(0, 63999) AS n";

/// A running server, a database on it, and who posts to it.
#[derive(Clone)]
pub(super) struct Site<'a> {
    pub(super) layout: &'a Layout,
    pub(super) secrets: Secrets,
    /// The superuser's URL of the server.
    server_url: String,
    /// The superuser's URL of the database.
    pub(super) owner_url: String,
    /// The functions' URL, without TLS, as pgbench's.
    pub(super) app_url: String,
    /// `PostgreSQL`'s programs.
    pub(super) bin: PathBuf,
    /// The server's process id.
    pub(super) server: u32,
    pub(super) org: OrgId,
    /// The org's key.
    pub(super) key: String,
    /// The certificate that vouches for the server, PEM.
    ca_pem: String,
}

impl<'a> Site<'a> {
    /// Starts everything, with an empty database.
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

    /// The same server with another database, empty but for an org.
    pub(super) async fn on(&self, name: &str) -> Result<Self> {
        let database = Database::replace(&self.server_url, name, &self.secrets).await?;
        database::migrate(&database.owner_url, &self.secrets.app_password).await?;
        let org = OrgId::from(Uuid::new_v4());
        let client = connection::open(&database.owner_url).await?;
        for statement in [ORG, KEY, AGENT, LEADS] {
            client.execute(statement, &[org.as_uuid()]).await.context("make the bench's org")?;
        }
        client.batch_execute("VACUUM ANALYZE").await.context("analyse the bench's database")?;
        let key = self.secrets.master_keys()?.mint(Subject::Org(org), 1).expose().to_owned();
        Ok(Self { owner_url: database.owner_url, app_url: database.app_url, org, key, ..self.clone() })
    }

    /// A connection of the superuser.
    pub(super) async fn superuser(&self) -> Result<Client> {
        connection::open(&self.owner_url).await
    }

    /// Keeps the server and the load on cores of their own, or lets both run anywhere.
    pub(super) fn pin(&self, apart: bool) -> Result<()> {
        let all = format!("0-{}", std::thread::available_parallelism().map_or(1, usize::from).max(2) - 1);
        let (server, load) = if apart { (SERVER_CORE, LOAD_CORE) } else { (all.as_str(), all.as_str()) };
        // The server is a child of this process: whoever is pinned last has it.
        process::pin(std::process::id(), load)?;
        process::pin(self.server, server)
    }

    /// A function in so many environments, which reaches the database at `url`.
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

    /// A function under load. Its log goes nowhere: in AWS it does not go to `PostgreSQL`'s disk, where it would slow down commits.
    pub(super) fn loaded(&self, name: &str, environments: usize) -> Result<FunctionSpec> {
        let spec = self.function(name, environments, &self.app_url)?;
        Ok(FunctionSpec { log: PathBuf::from("/dev/null"), ..spec })
    }

    /// The functions' environment, with the database at `url` and AWS at `endpoint`.
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
        // Nobody watches a bench.
        variables.push(("CONNECTIONS_ENDPOINT".to_owned(), NOWHERE.to_owned()));
        // The bench's own endpoint is on this machine.
        variables.push(("EGRESS_POLICY".to_owned(), "anywhere".to_owned()));
        variables.extend(of_aws(endpoint));
        Ok(variables)
    }

    /// The functions' URL as that of another machine, so that they demand TLS.
    pub(super) fn tls_url(&self) -> String {
        let url = self.app_url.replace("@127.0.0.1:", &format!("@{HOST}:"));
        format!("{url}?hostaddr=127.0.0.1")
    }
}

/// Stops what a bench has started.
pub(super) async fn stop(layout: &Layout) -> Result<()> {
    Cluster::of_bench(layout).stop().await.map(drop)
}

/// A binary of the workspace: both it and this tool were built as one.
pub(super) fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the functions' binaries")?;
    Ok(own.with_file_name(name))
}

/// Queues that nobody sends to.
fn queues() -> Queues {
    let names = consumers().flat_map(|consumer| [queue_of(&consumer), dead_letters_of(&consumer)]);
    names.map(|name| (name.clone(), format!("{NOWHERE}/000000000000/{name}"))).collect()
}

/// Gives the server a certificate, made anew, and returns what vouches for it: it vouches for itself.
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
