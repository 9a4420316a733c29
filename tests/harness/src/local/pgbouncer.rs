//! PgBouncer. The tests run the statements through it to show that they work behind a transaction pooler.

use std::path::{Path, PathBuf};

use super::command::on_path;
use crate::error::{Error, Result};

/// Debian installs it in a folder that only root has on `PATH`.
const DEBIAN: &str = "/usr/sbin/pgbouncer";

/// Finds the program. The error says how to install it.
pub fn find() -> Result<PathBuf> {
    let debian = Some(Path::new(DEBIAN)).filter(|program| program.is_file());
    on_path("pgbouncer").or_else(|| debian.map(Path::to_owned)).ok_or_else(|| {
        Error::new("pgbouncer is not on PATH. The tests need it: install it (Debian, Ubuntu: apt install pgbouncer)")
    })
}
