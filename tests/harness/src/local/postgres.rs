//! A PostgreSQL cluster of our own, under `target/`: made once, started, stopped.

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

/// One of the clusters: the stack's, the tests', the drills', or the bench's.
pub struct Cluster<'a> {
    layout: &'a Layout,
    service: Service,
    folder: PathBuf,
    settings: &'static [&'static str],
}

/// A cluster that runs.
pub struct Running {
    /// Its superuser's URL, on the database `postgres`.
    pub url: String,
    /// Its data folder.
    pub data: PathBuf,
    /// The folder of PostgreSQL's programs.
    pub bin: PathBuf,
}

impl<'a> Cluster<'a> {
    /// The stack's cluster. It keeps what it says it kept.
    #[must_use]
    pub fn of_stack(layout: &'a Layout) -> Self {
        Self::new(layout, "postgres", &["fsync=on"])
    }

    /// The tests' cluster: no data of it needs to survive, so it is fast instead, with plans for the asking.
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

    /// The drills' cluster. What it says it kept it keeps, or the drills would prove nothing.
    #[must_use]
    pub fn of_drills(layout: &'a Layout) -> Self {
        Self::new(layout, "drill-postgres", &["fsync=on"])
    }

    /// The bench's cluster: durable, with memory as a production server has it, and no checkpoint in the middle of a round.
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

    /// Starts the cluster unless it runs, and waits until it answers. `password` is its superuser's; without one
    /// everybody on this machine is trusted.
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

    /// Stops it; false: it was not running.
    pub async fn stop(&self) -> Result<bool> {
        self.service.stop(STOP).await
    }

    /// Removes its data.
    pub fn purge(&self) -> Result<()> {
        remove_folder(&self.folder)
    }

    /// The background process.
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

/// Fills a new data folder. A mark in it tells a whole one from one whose making was interrupted.
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

/// Frees the data folder of a server that was killed.
///
/// PostgreSQL does so itself, but not while the dead server is a zombie, which it stays for good in a container whose
/// first process collects none. Only the process id is replaced, by one that cannot exist: what else is in the file lets
/// PostgreSQL refuse to start beside sessions that are still alive.
fn release_lock(data: &Path) -> Result<()> {
    let file = data.join("postmaster.pid");
    let Ok(lock) = fs::read_to_string(&file) else { return Ok(()) };
    let Some((pid, rest)) = lock.split_once('\n') else { return Ok(()) };
    if pid.parse().is_ok_and(|pid| !lives(pid)) {
        fs::write(&file, format!("{}\n{rest}", i32::MAX)).context("free PostgreSQL's data folder")?;
    }
    Ok(())
}

fn url(port: u16, password: Option<&str>) -> String {
    let password = password.map(|password| format!(":{password}")).unwrap_or_default();
    format!("postgres://postgres{password}@127.0.0.1:{port}/postgres")
}

/// Whether the server takes a connection. A wrong password will not get better by waiting.
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

/// A file with a password, readable by the account only, removed when dropped.
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
        // It has a random name and mode 0600: one that stays is untidy, not dangerous.
        let _ = fs::remove_file(&self.0);
    }
}
