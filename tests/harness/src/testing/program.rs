//! Programs that a test runs for itself, each in its own folder.

use std::fs::{self, Permissions};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use uuid::Uuid;

/// Account `nobody` of Debian and most other distributions.
const NOBODY: (u32, u32) = (65_534, 65_534);

/// A folder that other users cannot read. It is removed on drop.
pub(crate) struct Folder {
    path: PathBuf,
    /// Account that owns the folder and runs the program, if it differs from the account of the test.
    account: Option<(u32, u32)>,
}

impl Folder {
    /// Creates a folder for a program of `programs`.
    pub(crate) fn new(programs: &Path) -> Self {
        let path = std::env::temp_dir().join(format!("ringfence-test-{}", Uuid::new_v4()));
        fs::create_dir(&path).expect("a temporary folder");
        let folder = Self { path, account: account(programs) };
        folder.own(&folder.path, 0o700);
        folder
    }

    /// Path of a file in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file that only the program's account can read.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect(name);
        self.own(&self.path(name), 0o600);
    }

    /// A command that runs in the folder as its owner.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
        command.current_dir(&self.path);
        command
    }

    fn own(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions");
        if let Some((user, group)) = self.account {
            chown(path, Some(user), Some(group)).expect("an owner");
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It has a random name under the system's temporary folder, so a remaining folder is harmless.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// `PostgreSQL` and `PgBouncer` refuse to be started by root, which is the usual user in a container. In that case the
/// account is the owner of the programs, or `nobody` if root owns them.
fn account(programs: &Path) -> Option<(u32, u32)> {
    let owner = fs::metadata(programs).expect("the programs are there");
    geteuid().is_root().then(|| if owner.uid() == 0 { NOBODY } else { (owner.uid(), owner.gid()) })
}

/// A program that runs until it is dropped.
pub(crate) struct Program {
    child: Child,
    end: Signal,
}

impl Program {
    /// Starts the program and waits until its standard error contains `ready`. `end` is the signal that ends it with
    /// every session.
    pub(crate) fn start(command: &mut Command, ready: &str, end: Signal) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut program = Self { child, end };
        let mut log = BufReader::new(program.child.stderr.take().expect("its standard error"));
        let mut said = String::new();
        while !said.contains(ready) {
            let count = log.read_line(&mut said).expect("its standard error is text");
            assert!(count > 0, "{command:?} ended:\n{said}");
        }
        // The rest is read and discarded, because a full pipe would block the program.
        std::thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), self.end);
        let _ = self.child.wait();
    }
}

/// A free port.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
