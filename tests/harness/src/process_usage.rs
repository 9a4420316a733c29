//! CPU time, memory and CPU affinity of processes on Linux.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::error::{Context, Error, Result};

/// Linux reports the times of ended children in hundredths of a second, whatever its own clock.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of a live process with all its threads.
#[must_use]
pub fn cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(|thread| ran(&fs::read_to_string(thread.path().join("schedstat")).ok()?)).sum()
}

/// CPU time of a server and of all processes that it has started, including ended ones.
pub fn cpu_of_server(pid: u32) -> Duration {
    let living: Duration = family(pid).into_iter().map(cpu).sum();
    living + ended_children(pid).unwrap_or_default()
}

/// CPU time of each live session of a `PostgreSQL` server, by process id.
#[must_use]
pub fn cpu_of_sessions(server: u32) -> BTreeMap<u32, Duration> {
    family(server).into_iter().filter(|pid| is_session(*pid)).map(|pid| (pid, cpu(pid))).collect()
}

/// A session's title is `postgres: ROLE DATABASE HOST(PORT) ...`, that of a background process a name without a port.
fn is_session(pid: u32) -> bool {
    let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let title = String::from_utf8_lossy(&title);
    title.starts_with("postgres: ") && title.split(' ').nth(3).is_some_and(|host| host.contains('('))
}

/// Busy and idle ticks of a core since the machine started. Waiting for a disk is idle.
#[must_use]
pub fn core(number: &str) -> [u64; 2] {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{number} ")));
    let ticks: Vec<u64> = line.unwrap_or_default().split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks[..] else { return [0, 0] };
    [user + nice + system + irq + softirq + steal, idle + iowait]
}

/// Peak memory of a process in bytes.
#[must_use]
pub fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Restricts a process, its threads and its children to these cores (`0`, `0,1`).
pub fn pin(pid: u32, cores: &str) -> Result<()> {
    for pid in family(pid) {
        let output = Command::new("taskset").args(["-a", "-c", "-p", cores, &pid.to_string()]).output();
        let output = output.context("run taskset")?;
        // A child may have ended in the meantime.
        if !output.status.success() && fs::exists(format!("/proc/{pid}")).unwrap_or(false) {
            return Err(Error::new(format!("taskset failed: {}", String::from_utf8_lossy(&output.stderr))));
        }
    }
    Ok(())
}

/// A process and its children. `PostgreSQL` has no deeper levels.
fn family(pid: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let children = ids.filter(|child| stat_field(*child, 1) == Some(u64::from(pid)));
    std::iter::once(pid).chain(children).collect()
}

/// Sum of `cutime` and `cstime`.
fn ended_children(pid: u32) -> Option<Duration> {
    let ticks = stat_field(pid, 13)? + stat_field(pid, 14)?;
    Some(TICK * u32::try_from(ticks).ok()?)
}

/// A number in `/proc/PID/stat`, counted from the process's state. The name before it may contain any character.
fn stat_field(pid: u32, index: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(index)?.parse().ok()
}

/// First number of `schedstat`: nanoseconds on a core.
fn ran(schedstat: &str) -> Option<Duration> {
    schedstat.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
