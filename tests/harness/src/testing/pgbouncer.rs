//! A `PgBouncer` in transaction mode: each transaction may use another server connection, and each server connection
//! serves many clients.

use std::path::PathBuf;

use rustix::process::Signal;

use super::database::APP_PASSWORD;
use super::program::{Folder, Program, free_port};
use super::setting;

/// The pooler. It stops on drop.
pub struct PgBouncer {
    /// Address on which it listens, `127.0.0.1:port`.
    pub address: String,
    _program: Program,
    _folder: Folder,
}

impl PgBouncer {
    /// Starts a pooler in front of `server` (`host:port`) with at most `connections` per database and role.
    #[must_use]
    pub fn start_before(server: &str, connections: usize) -> Self {
        let program = PathBuf::from(setting("RINGFENCE_TEST_PGBOUNCER"));
        let folder = Folder::new(&program);
        let (host, port) = server.rsplit_once(':').expect("host:port");
        let own_port = free_port();
        folder.write("users", &format!("\"ringfence_app\" \"{APP_PASSWORD}\"\n"));
        let configuration = format!(
            "[databases]\n* = host={host} port={port}\n\n[pgbouncer]\npool_mode = transaction\n\
             default_pool_size = {connections}\nlisten_addr = 127.0.0.1\nlisten_port = {own_port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}\n",
            folder.path("users").display()
        );
        folder.write("pgbouncer.ini", &configuration);
        let mut command = folder.command(&program);
        // SIGKILL, since it has no data to save. It does not set a handler for SIGQUIT, so it may have inherited that
        // SIGQUIT is ignored.
        let process = Program::start(command.arg(folder.path("pgbouncer.ini")), "process up", Signal::KILL);
        Self { address: format!("127.0.0.1:{own_port}"), _program: process, _folder: folder }
    }
}
