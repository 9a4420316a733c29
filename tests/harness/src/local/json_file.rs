//! Small JSON files with the state of the tool. Only their owner can read them, because most contain a secret.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Context, Result};

/// Content of the file. `None` if there is no file.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(format_args!("read {}", path.display())),
    };
    serde_json::from_slice(&text).map(Some).context(format_args!("read {}", path.display()))
}

/// Replaces the file atomically, so that no reader sees a partial file.
pub fn write<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context(format_args!("write {}", path.display()))?;
    let new = path.with_extension("new");
    let write_new = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, path)
    };
    write_new().context(format_args!("write {}", path.display()))
}
