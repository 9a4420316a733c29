//! Python 3, which installs and runs what comes from `PyPI`.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::command::{on_path, output};
use super::progress;
use crate::error::{Context, Error, Result};

/// Succeeds when Python is new enough and can make virtual environments that have pip.
const CHECK: &str = "import sys, venv, ensurepip; sys.exit('Python 3.10 or newer is needed') if sys.version_info < (3, 10) else print(sys.version.split()[0])";

/// The version of the `python3` on `PATH`; an error says what is missing and what to do.
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

/// The virtual environment `home/venv` with exactly these requirements, made anew unless they are in it already. `names`
/// tells a person what is in it.
pub async fn environment(home: &Path, requirements: &str, names: &str) -> Result<PathBuf> {
    let folder = home.join("venv");
    // The text of the requirements is the stamp too: another text installs anew.
    let stamp = home.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == requirements) {
        return Ok(folder);
    }
    progress(&format!("Installing {names} (once)"));
    let file = home.join("requirements.txt");
    fs::create_dir_all(home).context("make the folder of the tools")?;
    fs::write(&file, requirements).context("write the tools' requirements")?;
    install_environment(&folder, &file).await?;
    // Last, so that an interrupted installation starts again.
    fs::rename(&file, &stamp).context("note the tools' versions")?;
    Ok(folder)
}

/// A fresh virtual environment in `folder`, with the requirements of `file` and nothing else.
async fn install_environment(folder: &Path, file: &Path) -> Result<()> {
    check().await?;
    let mut create = Command::new("python3");
    output(create.args(["-m", "venv", "--clear"]).arg(folder), "make a Python virtual environment").await?;
    pip(Command::new(folder.join("bin/python")).args(["-m", "pip", "install"]).arg("--requirement").arg(file)).await
}

/// One package, unpacked into `folder`, by the virtual environment `environment`.
pub async fn install_package(environment: &Path, package: &str, folder: &Path) -> Result<()> {
    let mut install = Command::new(environment.join("bin/python"));
    pip(install.args(["-m", "pip", "install", package, "--upgrade", "--target"]).arg(folder)).await
}

async fn pip(install: &mut Command) -> Result<()> {
    let install = install.args(["--no-deps", "--quiet", "--no-input", "--disable-pip-version-check"]);
    output(install, "install from PyPI (pip's own settings, such as PIP_INDEX_URL, choose another index)").await?;
    Ok(())
}
