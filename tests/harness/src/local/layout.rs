//! Where things are: the checkout, and what the tool keeps under its `target/ringfence`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Context, Error, Result};

/// The folders of one checkout.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
    home: PathBuf,
}

impl Layout {
    /// The layout of the workspace that the current directory is in. Creates the folders.
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

    /// The layout of the checkout at `root`.
    fn at(root: PathBuf) -> Result<Self> {
        let layout = Self { home: root.join("target/ringfence"), root };
        for folder in [layout.logs(), layout.run()] {
            fs::create_dir_all(&folder).context(format_args!("create {}", folder.display()))?;
        }
        Ok(layout)
    }

    /// The workspace's root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder or file of the tool.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// One log file per background process.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.path("logs")
    }

    /// One record per background process.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.path("run")
    }
}

/// Removes a file or a folder; one that is not there is removed already.
pub fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(format_args!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
