//! Paths of the checkout and of the tool's files under `target/ringfence`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Context, Error, Result};

/// Folders of one checkout.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
    home: PathBuf,
}

impl Layout {
    /// Layout of the workspace of the current directory. Creates the folders.
    pub fn find() -> Result<Self> {
        let output = Command::new("cargo")
            .args(["locate-project", "--workspace", "--message-format", "plain"])
            .output()
            .context("run cargo")?;
        let manifest = String::from_utf8_lossy(&output.stdout);
        let root = Path::new(manifest.trim())
            .parent()
            .filter(|root| root.join("functions").is_dir())
            .ok_or_else(|| Error::new("this verb works inside a Ringfence checkout: change into one first"))?;
        Self::at(root.to_owned())
    }

    /// Layout of the checkout at `root`.
    fn at(root: PathBuf) -> Result<Self> {
        let layout = Self { home: root.join("target/ringfence"), root };
        for folder in [layout.logs(), layout.run()] {
            fs::create_dir_all(&folder).context(format_args!("create {}", folder.display()))?;
        }
        Ok(layout)
    }

    /// Root of the workspace.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Path of a folder or file of the tool.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// Folder with one log file per background process.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.path("logs")
    }

    /// Folder with one record per background process.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.path("run")
    }
}

/// Removes a file or a folder, if it exists.
pub fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(format_args!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
