//! A `PostgreSQL` server for one test that needs other settings than the common server: it requires authentication from
//! all clients.

use std::path::{Path, PathBuf};

use ringfence_core::DatabaseSettings;
use rustix::process::Signal;
use tokio_postgres::{Client, NoTls};

use super::program::{Folder, Program, free_port};
use super::setting;

/// Password of the superuser on such a server.
pub const SUPERUSER_PASSWORD: &str = "superuser";

/// The server. It stops and its data is removed on drop.
pub struct TestServer {
    _program: Program,
    port: u16,
    _folder: Folder,
}

impl TestServer {
    /// Starts a server that requires a password (SCRAM) from all clients.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[], &[])
    }

    /// Starts a server that also supports TLS, with a certificate and its key (both PEM).
    #[must_use]
    pub fn start_with_tls(certificate: &str, key: &str) -> Self {
        Self::start_with(&["ssl=on"], &[("server.crt", certificate), ("server.key", key)])
    }

    /// `files` are the names and texts of additional files in the data folder.
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

    /// Address on this machine.
    #[must_use]
    pub fn url(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Address with a host name, as if the server ran on another machine. No name is resolved: `hostaddr` contains the
    /// address.
    #[must_use]
    pub fn url_of(&self, host: &str, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@{host}:{}/{database}?hostaddr=127.0.0.1", self.port)
    }

    /// Settings of a role for a connection from this machine.
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
