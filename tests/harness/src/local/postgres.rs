//! PostgreSQL clusters of this checkout, under `target/`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::account::{Account, reachable_folder, remove_folder, run_as};
use super::layout::{Layout, remove};
use super::process::{Record, Service, lives};
use super::tools::Tools;
use super::{command, connection, postgres_binaries, progress};
use crate::error::{Context, Error, Result};

/// Recovery after a crash may take a while.
const START_LIMIT: Duration = Duration::from_mins(1);
/// Ends sessions at once and shuts down cleanly ("fast shutdown").
const STOP: Signal = Signal::INT;

/// A cluster: of the stack, the tests, the drills or the benchmark.
pub struct Cluster<'a> {
    layout: &'a Layout,
    service: Service,
    folder: PathBuf,
    settings: &'static [&'static str],
}

/// A running cluster.
pub struct Running {
    /// URL of its superuser for the database `postgres`.
    pub url: String,
    /// Data folder.
    pub data: PathBuf,
    /// Folder of PostgreSQL's programs.
    pub bin: PathBuf,
}

impl<'a> Cluster<'a> {
    /// Cluster of the stack. It is durable.
    #[must_use]
    pub fn of_stack(layout: &'a Layout) -> Self {
        Self::new(layout, "postgres", &["fsync=on"])
    }

    /// Cluster of the tests. It is fast instead of durable, and can log query plans (`auto_explain`).
    #[must_use]
    pub fn of_tests(layout: &'a Layout) -> Self {
        const SETTINGS: &[&str] = &[
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "max_connections=300",
            "shared_preload_libraries=auto_explain",
        ];
        Self::new(layout, "test-postgres", SETTINGS)
    }

    /// Cluster of the drills. It is durable, because the drills verify its rows after faults.
    #[must_use]
    pub fn of_drills(layout: &'a Layout) -> Self {
        Self::new(layout, "drill-postgres", &["fsync=on"])
    }

    /// Cluster of the benchmark: durable, with the memory settings of a production server and no checkpoint during a
    /// round.
    #[must_use]
    pub fn of_bench(layout: &'a Layout) -> Self {
        const SETTINGS: &[&str] = &[
            "fsync=on",
            "shared_buffers=1GB",
            "maintenance_work_mem=512MB",
            "max_wal_size=16GB",
            "checkpoint_timeout=1h",
            "effective_cache_size=4GB",
        ];
        Self::new(layout, "bench-postgres", SETTINGS)
    }

    fn new(layout: &'a Layout, name: &'static str, settings: &'static [&'static str]) -> Self {
        Self { layout, service: Service::new(layout, name), folder: layout.path(name), settings }
    }

    /// Starts the cluster unless it runs, and waits until it answers. `password` is the superuser's; without a
    /// password, the server trusts all users of this machine.
    pub async fn start(&self, tools: &Tools, password: Option<&str>) -> Result<Running> {
        let account = Account::for_postgres();
        let bin = postgres_binaries::find_or_install(self.layout, tools, account).await?;
        let data = reachable_folder(account, &self.folder)?;
        initialise(account, &bin, &data, password).await?;
        let record = match self.service.running()? {
            Some(record) => record,
            None => self.launch(account, &bin, &data)?,
        };
        let url = url(record.port, password);
        self.service.wait_until(START_LIMIT, || is_ready(&url)).await?;
        Ok(Running { url, data, bin })
    }

    /// Stops the cluster. Returns false if it was not running.
    pub async fn stop(&self) -> Result<bool> {
        self.service.stop(STOP).await
    }

    /// Removes its data.
    pub fn purge(&self) -> Result<()> {
        remove_folder(&self.folder)
    }

    /// Background process of the cluster.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    fn launch(&self, account: Option<Account>, bin: &Path, data: &Path) -> Result<Record> {
        progress("Starting PostgreSQL");
        release_lock(data)?;
        let port = self.service.free_port()?;
        let mut server = Command::new(bin.join("postgres"));
        server.arg("-D").arg(data).args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        server.args(["-c", &format!("port={port}"), "-c", "logging_collector=off"]);
        for setting in self.settings {
            server.args(["-c", setting]);
        }
        self.service.spawn(run_as(account, &mut server), port)
    }
}

/// Initialises a data folder. A marker file distinguishes a complete folder from an interrupted initialisation.
async fn initialise(account: Option<Account>, bin: &Path, data: &Path, password: Option<&str>) -> Result<()> {
    let mark = data.join("ringfence-initialised");
    if mark.exists() {
        return Ok(());
    }
    progress("Making a PostgreSQL cluster");
    for entry in fs::read_dir(data).context("read PostgreSQL's data folder")? {
        remove(&entry.context("read PostgreSQL's data folder")?.path())?;
    }
    let mut initdb = Command::new(bin.join("initdb"));
    initdb.args(["-U", "postgres", "-E", "UTF8", "--locale=C", "-D"]).arg(data);
    let password_file = password.map(|password| PasswordFile::new(password, account)).transpose()?;
    match &password_file {
        Some(file) => initdb.args(["-A", "scram-sha-256", "--pwfile"]).arg(&file.0),
        None => initdb.args(["-A", "trust", "--no-sync"]),
    };
    run_as(account, &mut initdb);
    command::output(&mut initdb.into(), "make a PostgreSQL cluster").await?;
    fs::write(&mark, "").context("mark the PostgreSQL cluster as made")
}

/// Makes the data folder of a killed server usable again.
///
/// PostgreSQL does this itself, except while the dead server is a zombie. In a container whose first process reaps no
/// children, it stays a zombie. Only the process id is replaced, by one that cannot exist: with the rest of the file,
/// PostgreSQL still refuses to start beside live sessions.
fn release_lock(data: &Path) -> Result<()> {
    let file = data.join("postmaster.pid");
    let Ok(lock) = fs::read_to_string(&file) else { return Ok(()) };
    let Some((pid, rest)) = lock.split_once('\n') else { return Ok(()) };
    if pid.parse().is_ok_and(|pid| !lives(pid)) {
        fs::write(&file, format!("{}\n{rest}", i32::MAX)).context("unlock PostgreSQL's data folder")?;
    }
    Ok(())
}

fn url(port: u16, password: Option<&str>) -> String {
    let password = password.map(|password| format!(":{password}")).unwrap_or_default();
    format!("postgres://postgres{password}@127.0.0.1:{port}/postgres")
}

/// Whether the server accepts a connection. A wrong password is an error, since waiting does not help.
async fn is_ready(url: &str) -> Result<bool> {
    match connection::try_open(url).await {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(&SqlState::INVALID_PASSWORD) => Err(Error::new(
            "the PostgreSQL cluster under target/ringfence was made with another password than the one in secrets.json; \
             `cargo ringfence down --purge` removes both, and all local data",
        )),
        Err(_) => Ok(false),
    }
}

/// A file with a password that only the account can read. It is removed on drop.
struct PasswordFile(PathBuf);

impl PasswordFile {
    fn new(password: &str, account: Option<Account>) -> Result<Self> {
        let file = Self(std::env::temp_dir().join(format!("ringfence-{}", Uuid::new_v4())));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let written = options.open(&file.0).and_then(|mut open| open.write_all(password.as_bytes()));
        written.context("write PostgreSQL's password file")?;
        account.map_or(Ok(()), |account| account.own(&file.0))?;
        Ok(file)
    }
}

impl Drop for PasswordFile {
    fn drop(&mut self) {
        // It has a random name and mode 0600, so a remaining file is harmless.
        let _ = fs::remove_file(&self.0);
    }
}
