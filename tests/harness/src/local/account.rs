//! The account that runs PostgreSQL. PostgreSQL refuses to be started by root, which is the usual user in a container.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use uuid::Uuid;

use super::layout::remove;
use crate::error::{Context, Result};

/// Account `nobody` of Debian and most other distributions.
const NOBODY: Account = Account { uid: 65_534, gid: 65_534 };

/// Account of a process, where it differs from the account of the tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// Account for PostgreSQL. `None` if the tool's own account is suitable.
    #[must_use]
    pub fn for_postgres() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Some(find_user(&users, "postgres").unwrap_or(NOBODY))
    }

    /// Changes the owner of a file or folder to the account.
    pub fn own(self, path: &Path) -> Result<()> {
        chown(path, Some(self.uid), Some(self.gid)).context(format_args!("change the owner of {}", path.display()))
    }

    fn can_enter(self, folder: &Path) -> bool {
        let mut enter = Command::new("sh");
        enter.args(["-c", "cd \"$0\""]).arg(folder).current_dir("/").stderr(Stdio::null());
        enter.uid(self.uid).gid(self.gid).status().is_ok_and(|status| status.success())
    }
}

/// Runs the command as the account, in a folder that every account can enter.
pub fn run_as(account: Option<Account>, command: &mut Command) -> &mut Command {
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command.current_dir("/")
}

/// Path of the folder `wanted` as the account can reach it. The folder is created if necessary.
///
/// If the account cannot enter the checkout, the folder is created under the system's temporary folder, and `wanted`
/// links to it.
pub fn reachable_folder(account: Option<Account>, wanted: &Path) -> Result<PathBuf> {
    if let Ok(folder) = wanted.canonicalize() {
        return Ok(folder);
    }
    remove(wanted)?;
    fs::create_dir_all(wanted).context(format_args!("create {}", wanted.display()))?;
    if account.is_some_and(|account| !account.can_enter(wanted)) {
        move_elsewhere(wanted)?;
    }
    let folder = wanted.canonicalize().context(format_args!("find {}", wanted.display()))?;
    // PostgreSQL requires that no other user can read its data.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))
        .context(format_args!("close {} to others", folder.display()))?;
    account.map_or(Ok(()), |account| account.own(&folder))?;
    Ok(folder)
}

/// Replaces a new folder by a link to one that every account can reach.
fn move_elsewhere(wanted: &Path) -> Result<()> {
    let elsewhere = std::env::temp_dir().join(format!("ringfence-{}", Uuid::new_v4()));
    fs::create_dir(&elsewhere).context(format_args!("create {}", elsewhere.display()))?;
    remove(wanted)?;
    symlink(&elsewhere, wanted).context(format_args!("link {}", wanted.display()))
}

/// Removes a folder of [`reachable_folder`] and its link.
pub fn remove_folder(wanted: &Path) -> Result<()> {
    if let Ok(folder) = wanted.canonicalize() {
        remove(&folder)?;
    }
    remove(wanted)
}

/// Finds a user in the text of `/etc/passwd`.
fn find_user(users: &str, name: &str) -> Option<Account> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(Account { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name() {
        let users = "root:x:0:0:root:/root:/bin/bash\npostgres:x:101:104:PostgreSQL:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(find_user(users, "postgres"), Some(Account { uid: 101, gid: 104 }));
        assert_eq!(find_user(users, "post"), None);
    }
}
