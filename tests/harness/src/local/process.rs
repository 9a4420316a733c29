//! Background processes: later runs of the tool find and stop them by a record in a file.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

use super::json_file;
use super::layout::Layout;
use super::port;
use crate::error::{Context, Error, Result};

/// Time for a process to end before it is killed.
const GRACE: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(50);
/// Number of log lines in an error message.
const LOG_LINES: usize = 20;

/// Record of a process. It outlives the process, so that the next one prefers the same port.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Process id, which is also the id of its process group.
    pub pid: i32,
    /// Start time as the operating system reports it. It distinguishes the process from a later one with the same id.
    started: String,
    /// Loopback port that it serves.
    pub port: u16,
}

/// A background process with a fixed name.
#[derive(Clone, Debug)]
pub struct Service {
    name: &'static str,
    record: PathBuf,
    log: PathBuf,
}

impl Service {
    #[must_use]
    pub fn new(layout: &Layout, name: &'static str) -> Self {
        let record = layout.run().join(format!("{name}.json"));
        let log = layout.logs().join(format!("{name}.log"));
        Self { name, record, log }
    }

    /// Record of the process, if it runs.
    pub fn running(&self) -> Result<Option<Record>> {
        let record: Option<Record> = json_file::read(&self.record)?;
        Ok(record.filter(|record| started(record.pid).as_ref() == Some(&record.started)))
    }

    /// A free port, if possible that of the last record.
    pub fn free_port(&self) -> Result<u16> {
        let last: Option<Record> = json_file::read(&self.record)?;
        port::free(last.map(|record| record.port))
    }

    /// Starts the process in its own process group, so that Ctrl-C does not reach it. Its output goes to its log.
    pub fn spawn(&self, command: &mut Command, port: u16) -> Result<Record> {
        let log = File::create(&self.log).context(format_args!("write {}", self.log.display()))?;
        let errors = log.try_clone().context(format_args!("write {}", self.log.display()))?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .context(format_args!("start {}", self.name))?;
        let pid = child.id().cast_signed();
        let record = Record { pid, started: started(pid).unwrap_or_default(), port };
        json_file::write(&self.record, &record)?;
        Ok(record)
    }

    /// Waits until `ready` returns true. Fails if the process ends or the limit passes first.
    pub async fn wait_until<F>(&self, limit: Duration, ready: impl Fn() -> F) -> Result<()>
    where
        F: Future<Output = Result<bool>>,
    {
        let start = Instant::now();
        while !ready().await? {
            if self.running()?.is_none() {
                return Err(self.failure("ended at once"));
            }
            if start.elapsed() > limit {
                return Err(self.failure(&format!("was not ready after {} s", limit.as_secs())));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Sends the signal and waits; kills the process after the grace period. Returns false if it was not running.
    pub async fn stop(&self, signal: Signal) -> Result<bool> {
        let Some(record) = self.running()? else { return Ok(false) };
        let pid = Pid::from_raw(record.pid).ok_or_else(|| self.failure("has no process id"))?;
        // A failure means that the process has just ended by itself.
        let _ = kill_process(pid, signal);
        let start = Instant::now();
        while self.running()?.is_some() {
            if start.elapsed() > GRACE {
                let _ = kill_process_group(pid, Signal::KILL);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(true)
    }

    /// Error with the end of the log.
    fn failure(&self, what: &str) -> Error {
        Error::new(format!("{} {what}; {}", self.name, self.log_tail()))
    }

    /// End of the log, for an error message.
    #[must_use]
    pub fn log_tail(&self) -> String {
        log_tail(&self.log)
    }
}

/// End of a log, for an error message.
#[must_use]
pub fn log_tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  | ");
    format!("the end of {}:\n  | {tail}", log.display())
}

/// Whether a process is alive. A zombie is not.
#[must_use]
pub fn lives(pid: i32) -> bool {
    started(pid).is_some()
}

/// Start time of a live process as the operating system reports it. `None` for a zombie.
#[cfg(target_os = "linux")]
fn started(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name is in brackets and may contain any character. The state follows, and the start time 19 fields
    // later.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    fields.nth(18).filter(|_| state != "Z").map(ToOwned::to_owned)
}

/// Start time of a live process as the operating system reports it. `None` for a zombie.
#[cfg(not(target_os = "linux"))]
fn started(pid: i32) -> Option<String> {
    let output = Command::new("ps").args(["-o", "stat=,lstart=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (state, started) = text.trim().split_once(char::is_whitespace)?;
    Some(started.trim().to_owned()).filter(|_| !state.starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_has_a_start_and_a_dead_one_has_not() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id().cast_signed();
        assert!(started(pid).is_some());
        assert_eq!(started(pid), started(pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(started(pid), None);
    }
}
