//! PgBouncer, through which tests show that the statements work behind a transaction pooler.

use std::path::{Path, PathBuf};

use super::command::on_path;
use crate::error::{Error, Result};

/// Debian installs it where only root's `PATH` leads.
const DEBIAN: &str = "/usr/sbin/pgbouncer";

/// The program; an error says how to get it.
pub fn find() -> Result<PathBuf> {
    let debian = Some(Path::new(DEBIAN)).filter(|program| program.is_file());
    on_path("pgbouncer").or_else(|| debian.map(Path::to_owned)).ok_or_else(|| {
        Error::new("pgbouncer is not on PATH. The tests need it: install it (Debian, Ubuntu: apt install pgbouncer)")
    })
}
