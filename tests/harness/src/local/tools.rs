//! Tools from `PyPI`: cargo-lambda and MiniStack with pinned versions, in a virtual environment under `target/`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use super::layout::{Layout, remove};
use super::python;
use crate::error::{Context, Result};

/// Exact versions.
const REQUIREMENTS: &str = include_str!("../../tools-requirements.txt");

/// The installed tools.
#[derive(Clone, Debug)]
pub struct Tools {
    home: PathBuf,
}

impl Tools {
    /// Installs the tools unless these versions are installed already.
    pub async fn install(layout: &Layout) -> Result<Self> {
        let tools = Self { home: layout.path("tools") };
        python::environment(&tools.home, REQUIREMENTS, "cargo-lambda and MiniStack").await?;
        tools.link_cargo_lambda()?;
        Ok(tools)
    }

    /// Path of the virtual environment.
    #[must_use]
    pub fn environment(&self) -> PathBuf {
        self.home.join("venv")
    }

    /// Folder to add to `PATH`. It contains cargo-lambda only, not the environment's Python.
    #[must_use]
    pub fn path_entry(&self) -> PathBuf {
        self.home.join("bin")
    }

    /// `PATH` with cargo-lambda, without a duplicate.
    #[must_use]
    pub fn path_variable(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        let entry = self.path_entry().display().to_string();
        if path.split(':').any(|folder| folder == entry) { path } else { format!("{entry}:{path}") }
    }

    /// Command `cargo-lambda lambda`, to which the caller adds a subcommand.
    #[must_use]
    pub fn cargo_lambda(&self) -> Command {
        let mut command = Command::new(self.path_entry().join("cargo-lambda"));
        command.arg("lambda");
        command
    }

    /// Command of MiniStack's server. Python runs the script, because its first line is wrong after the checkout is
    /// moved.
    #[must_use]
    pub fn ministack(&self) -> Command {
        let bin = self.environment().join("bin");
        let mut command = Command::new(bin.join("python"));
        command.arg(bin.join("ministack"));
        command
    }

    fn link_cargo_lambda(&self) -> Result<()> {
        let link = self.path_entry().join("cargo-lambda");
        if link.exists() {
            return Ok(());
        }
        fs::create_dir_all(self.path_entry()).context("make the folder of the tools")?;
        remove(&link)?;
        symlink("../venv/bin/cargo-lambda", &link).context("link cargo-lambda")
    }
}
