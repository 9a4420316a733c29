//! Commands that the tool runs and waits for.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::error::{Context, Error, Result};

/// Runs a command to its end and returns what it printed. A failure shows what it complained about.
pub(crate) async fn output(command: &mut Command, doing: &str) -> Result<String> {
    let output = command.output().await.context(doing)?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!("could not {doing} ({}):\n{}{}", output.status, printed, errors.trim_end())))
}

/// The first file of this name in the folders of `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_program(file))
}

/// Whether this is a file that may be executed.
fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
