//! Python 3, which installs and runs the packages from `PyPI`.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::command::{on_path, output};
use super::progress;
use crate::error::{Context, Error, Result};

/// Succeeds if Python is new enough and can create virtual environments with pip.
const CHECK: &str = "import sys, venv, ensurepip; sys.exit('Python 3.10 or newer is needed') if sys.version_info < (3, 10) else print(sys.version.split()[0])";

/// Version of the `python3` on `PATH`. The error says what to install.
pub async fn check() -> Result<String> {
    if on_path("python3").is_none() {
        return Err(Error::new(
            "python3 is not on PATH. Install Python 3.10 or newer with venv (Debian, Ubuntu: apt install python3-venv)",
        ));
    }
    let version = output(Command::new("python3").args(["-c", CHECK]), "use python3").await.map_err(|error| {
        Error::new(format!(
            "{error}\nPython 3.10 or newer with the modules venv and ensurepip is needed (Debian, Ubuntu: apt install python3-venv)"
        ))
    })?;
    Ok(version.trim().to_owned())
}

/// Virtual environment `home/venv` with exactly these requirements. It is created again if the requirements changed.
/// `names` describes its content in the progress message.
pub async fn environment(home: &Path, requirements: &str, names: &str) -> Result<PathBuf> {
    let folder = home.join("venv");
    // The text of the requirements is also the stamp: a different text causes a new installation.
    let stamp = home.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == requirements) {
        return Ok(folder);
    }
    progress(&format!("Installing {names} (once)"));
    let file = home.join("requirements.txt");
    fs::create_dir_all(home).context("make the folder of the tools")?;
    fs::write(&file, requirements).context("write the tools' requirements")?;
    install_environment(&folder, &file).await?;
    // Last, so that an interrupted installation is repeated.
    fs::rename(&file, &stamp).context("note the tools' versions")?;
    Ok(folder)
}

/// Creates a virtual environment in `folder` with the requirements of `file` only.
async fn install_environment(folder: &Path, file: &Path) -> Result<()> {
    check().await?;
    let mut create = Command::new("python3");
    output(create.args(["-m", "venv", "--clear"]).arg(folder), "make a Python virtual environment").await?;
    pip(Command::new(folder.join("bin/python")).args(["-m", "pip", "install"]).arg("--requirement").arg(file)).await
}

/// Installs one package into `folder`, with pip of the virtual environment `environment`.
pub async fn install_package(environment: &Path, package: &str, folder: &Path) -> Result<()> {
    let mut install = Command::new(environment.join("bin/python"));
    pip(install.args(["-m", "pip", "install", package, "--upgrade", "--target"]).arg(folder)).await
}

async fn pip(install: &mut Command) -> Result<()> {
    let install = install.args(["--no-deps", "--quiet", "--no-input", "--disable-pip-version-check"]);
    output(install, "install from PyPI (pip's own settings, such as PIP_INDEX_URL, choose another index)").await?;
    Ok(())
}
