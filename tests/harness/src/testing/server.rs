//! A `PostgreSQL` server of a test's own, where the tests' common one will not do: it makes no exception for this machine.

use std::path::{Path, PathBuf};

use ringfence_core::DatabaseSettings;
use rustix::process::Signal;
use tokio_postgres::{Client, NoTls};

use super::program::{Folder, Program, free_port};
use super::setting;

/// The superuser's password on such a server.
pub const SUPERUSER_PASSWORD: &str = "superuser";

/// The server. It is gone, with its data, when dropped.
pub struct TestServer {
    _program: Program,
    port: u16,
    _folder: Folder,
}

impl TestServer {
    /// A server that wants a password (SCRAM) from everybody.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[], &[])
    }

    /// A server that can TLS too, with a certificate and its key (both PEM).
    #[must_use]
    pub fn start_with_tls(certificate: &str, key: &str) -> Self {
        Self::start_with(&["ssl=on"], &[("server.crt", certificate), ("server.key", key)])
    }

    /// `files` are the name and the text of what lies in the data folder besides.
    fn start_with(settings: &[&str], files: &[(&str, &str)]) -> Self {
        let programs = PathBuf::from(setting("RINGFENCE_TEST_PG_BIN"));
        let folder = Folder::new(&programs);
        initialise(&programs, &folder);
        for (name, text) in files {
            folder.write(&format!("data/{name}"), text);
        }
        let port = free_port();
        let mut server = folder.command(&programs.join("postgres"));
        server.arg("-D").arg(folder.path("data")).args(["-p", &port.to_string(), "-c", "fsync=off"]);
        server.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        for setting in settings {
            server.args(["-c", setting]);
        }
        Self {
            _program: Program::start(&mut server, "ready to accept connections", Signal::QUIT),
            port,
            _folder: folder,
        }
    }

    /// Where it listens on this machine.
    #[must_use]
    pub fn url(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The same under a name, as if it were another machine's. No name is resolved: `hostaddr` says where it is.
    #[must_use]
    pub fn url_of(&self, host: &str, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@{host}:{}/{database}?hostaddr=127.0.0.1", self.port)
    }

    /// Settings of a role, reached as on this machine.
    #[must_use]
    pub fn settings(&self, role: &str, password: &str, database: &str) -> DatabaseSettings {
        DatabaseSettings::new(self.url(role, password, database), None)
    }

    /// A plain connection as the superuser.
    pub async fn superuser(&self, database: &str) -> Client {
        let url = self.url("postgres", SUPERUSER_PASSWORD, database);
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("a connection");
        tokio::spawn(connection);
        client
    }
}

fn initialise(programs: &Path, folder: &Folder) {
    folder.write("password", SUPERUSER_PASSWORD);
    let mut initdb = folder.command(&programs.join("initdb"));
    initdb.args(["-U", "postgres", "-E", "UTF8", "--locale=C", "-A", "scram-sha-256", "--no-sync", "--pwfile"]);
    let output = initdb.arg(folder.path("password")).arg("-D").arg(folder.path("data")).output().expect("initdb runs");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
}
