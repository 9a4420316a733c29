//! Commands that the tool runs to completion.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::process::log_tail;
use crate::error::{Context, Error, Result};

/// Runs a command to its end and returns its standard output. An error contains its standard error.
pub async fn output(command: &mut Command, doing: &str) -> Result<String> {
    let output = command.output().await.context(doing)?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!("could not {doing} ({}):\n{}{}", output.status, printed, errors.trim_end())))
}

/// Runs a command to its end and writes its output to a log. An error contains the end of the log.
pub async fn logged(command: &mut Command, log: &Path, doing: &str) -> Result<()> {
    let output = File::create(log).context(format_args!("write {}", log.display()))?;
    let errors = output.try_clone().context(format_args!("write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors).kill_on_drop(true);
    let status = command.status().await.context(doing)?;
    if status.success() {
        return Ok(());
    }
    Err(Error::new(format!("could not {doing} ({status}); {}", log_tail(log))))
}

/// Path of this program, for running it again. A build, including the build of `up`, replaces the file while it runs;
/// on Linux this path still refers to the running program.
pub fn this_program() -> Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_owned()) } else { std::env::current_exe().context("find this program") }
}

/// First file of this name in the folders of `PATH`.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_program(file))
}

/// Whether this is an executable file.
fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
