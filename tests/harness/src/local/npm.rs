//! Packages from npm, at the versions of a lock file in the checkout.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::command::{logged, on_path};
use super::layout::Layout;
use super::progress;
use crate::error::{Context, Error, Result};

/// Installs the packages of `folder` (relative to the checkout), which has `package.json` and `package-lock.json`, and
/// returns the folder that contains `node_modules`. `name` names the installation under `target/`.
pub async fn install(layout: &Layout, folder: impl AsRef<Path>, name: &str) -> Result<PathBuf> {
    let npm = on_path("npm").ok_or_else(|| Error::new("npm is not on PATH: the README says how to install it"))?;
    let (source, home) = (layout.root().join(folder), layout.path("tools").join(name));
    tokio::fs::create_dir_all(&home).await.context("make a folder for packages")?;
    for file in ["package.json", "package-lock.json"] {
        tokio::fs::copy(source.join(file), home.join(file)).await.context(format_args!("copy {file}"))?;
    }
    progress(&format!("Installing packages from npm: {name}"));
    let mut command = Command::new(npm);
    command.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&home);
    logged(&mut command, &layout.logs().join(format!("{name}-npm.log")), "install packages with npm").await?;
    Ok(home)
}
