//! An execution environment: one process of a function's binary, which serves one invocation at a time.

use std::fs::File;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::function::FunctionSpec;
use super::invocation::{Answer, Invocation, InvocationError};

/// Start of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Process id.
    pub pid: u32,
    /// Time at which the process was executed.
    pub executed: Instant,
    /// Time of its first request for an invocation, which ends its init. `None` before that request.
    pub polled: Option<Instant>,
}

/// State of an environment.
#[derive(Clone, Debug)]
pub(super) enum Life {
    /// The process is about to be executed.
    New,
    /// The process runs.
    Running(Start),
    /// The process could not be executed or ended during its init, for this reason. The next invocation starts a new
    /// process.
    Down(String),
}

/// An execution environment. It runs one process at a time.
pub(super) struct Environment {
    life: watch::Sender<Life>,
    /// Id of the process to kill. It is an id so that a late request does not kill the next process.
    condemned: watch::Sender<u32>,
    /// Notified when an invocation needs a process and none runs.
    wanted: Notify,
    /// Number of processes so far. It identifies requests that still arrive from an earlier process.
    generation: AtomicU64,
    current: Mutex<Option<Current>>,
}

/// The invocation in progress.
struct Current {
    invocation: Invocation,
    deadline: Instant,
    limit: Duration,
}

/// Invocation as the process receives it.
pub(super) struct Handover {
    pub(super) id: Uuid,
    pub(super) payload: Bytes,
    /// Deadline in milliseconds since 1970.
    pub(super) deadline_ms: u128,
}

/// End of a process.
pub(super) struct Exit {
    failure: InvocationError,
    status: io::Result<ExitStatus>,
}

impl Environment {
    pub(super) fn new() -> Self {
        Self {
            life: watch::Sender::new(Life::New),
            condemned: watch::Sender::new(0),
            wanted: Notify::new(),
            generation: AtomicU64::new(0),
            current: Mutex::new(None),
        }
    }

    /// Watches the state of the environment.
    pub(super) fn life(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    /// Start of the current process, if one runs.
    pub(super) fn start(&self) -> Option<Start> {
        match &*self.life.borrow() {
            Life::Running(start) => Some(*start),
            Life::New | Life::Down(_) => None,
        }
    }

    /// Generation of the current process.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Runs one process from its execution to its end. `api` is the URL of the Runtime API.
    pub(super) async fn run(&self, spec: &FunctionSpec, api: &str) -> Exit {
        let exit = match self.execute(spec, &format!("{api}/{}", self.generation())) {
            Ok(child) => self.attend(child, spec.timeout).await,
            Err(error) => Exit { failure: InvocationError::Died, status: Err(error) },
        };
        self.generation.fetch_add(1, Ordering::SeqCst);
        exit
    }

    /// Fails the invocation in progress. Returns the reason if the process ended during its init.
    pub(super) fn bury(&self, Exit { failure, status }: Exit) -> Option<String> {
        if let Some(Current { invocation, .. }) = self.current().take() {
            let _ = invocation.respond.send(Err(failure));
        }
        let was_polled = self.start().is_some_and(|start| start.polled.is_some());
        let text = || status.map_or_else(|error| error.to_string(), |status| format!("its init ended with {status}"));
        let reason = (!was_polled).then(text);
        self.life.send_replace(reason.clone().map_or(Life::New, Life::Down));
        reason
    }

    /// Records that the process requests an invocation, which ends its init.
    pub(super) fn polled(&self) {
        self.life.send_if_modified(|life| match life {
            Life::Running(start) if start.polled.is_none() => {
                start.polled = Some(Instant::now());
                true
            }
            _ => false,
        });
    }

    /// Hands an invocation to the process and starts its timeout.
    pub(super) fn begin(&self, invocation: Invocation, limit: Duration) -> Handover {
        let deadline = SystemTime::now() + limit;
        let handover = Handover {
            id: invocation.id,
            payload: invocation.payload.clone(),
            deadline_ms: deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis(),
        };
        // If the process never answered the previous invocation, it is dropped here, and its sender with it: the
        // invoker receives an error.
        *self.current() = Some(Current { invocation, deadline: Instant::now() + limit, limit });
        handover
    }

    /// Ends the invocation with this id. Returns false if the process does not work on it.
    pub(super) fn finish(&self, id: &str, answer: Answer) -> bool {
        let finished = self.current().take_if(|current| current.invocation.id.to_string() == id);
        let Some(Current { invocation, .. }) = finished else { return false };
        // The invoker may have stopped waiting; the function has finished its work regardless.
        let _ = invocation.respond.send(answer);
        true
    }

    /// Kills the process and waits until it has ended.
    pub(super) async fn kill(&self) {
        let Some(Start { pid, .. }) = self.start() else { return };
        let mut life = self.life();
        self.condemned.send_replace(pid);
        let is_gone = |life: &Life| !matches!(life, Life::Running(start) if start.pid == pid);
        // Fails when the host has stopped; the process has then ended too.
        let _ = life.wait_for(is_gone).await;
    }

    /// Requests a process in an environment that has none.
    pub(super) fn want(&self) {
        self.wanted.notify_one();
    }

    /// Waits until a process is requested.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    fn execute(&self, spec: &FunctionSpec, api: &str) -> io::Result<Child> {
        let mut command = command(spec, api)?;
        let executed = Instant::now();
        let mut result = None;
        // Under the lock of the state: the process must not request an invocation before the state says that it runs.
        self.life.send_modify(|life| {
            let child = command.spawn();
            if let Ok(child) = &child {
                *life = Life::Running(Start { pid: child.id().unwrap_or_default(), executed, polled: None });
            }
            result = Some(child);
        });
        result.unwrap_or_else(|| Err(io::ErrorKind::Other.into()))
    }

    /// Waits for the end of a process. Kills it on request, or when an invocation exceeds its timeout.
    async fn attend(&self, mut child: Child, limit: Duration) -> Exit {
        let pid = child.id().unwrap_or_default();
        let failure = tokio::select! {
            status = child.wait() => return Exit { failure: InvocationError::Died, status },
            () = self.condemned(pid) => InvocationError::Died,
            limit = self.overdue(limit) => InvocationError::TimedOut(limit),
        };
        // A failure means that the process has just ended by itself.
        let _ = child.start_kill();
        Exit { failure, status: child.wait().await }
    }

    /// Waits until this process is to be killed.
    async fn condemned(&self, pid: u32) {
        // The sender lives as long as `self`.
        let _ = self.condemned.subscribe().wait_for(|condemned| *condemned == pid).await;
    }

    /// Waits until an invocation exceeds its timeout, and returns that timeout.
    async fn overdue(&self, limit: Duration) -> Duration {
        loop {
            // An invocation that begins later has a later deadline, so checking again at that time is early enough.
            let (due, limit) = self.due().unwrap_or_else(|| (Instant::now() + limit, limit));
            tokio::time::sleep_until(due).await;
            if self.due().is_some_and(|(due, _)| due <= Instant::now()) {
                return limit;
            }
        }
    }

    /// Deadline and timeout of the current invocation.
    fn due(&self) -> Option<(Instant, Duration)> {
        self.current().as_ref().map(|current| (current.deadline, current.limit))
    }

    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        // No code panics while it holds the lock, and the value is consistent at any time.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Command that runs the binary with the environment variables that Lambda would set, and none of the tool's own.
fn command(spec: &FunctionSpec, api: &str) -> io::Result<Command> {
    let log = File::options().create(true).append(true).open(&spec.log)?;
    let mut command = Command::new(&spec.binary);
    command
        .env_clear()
        .envs(spec.variables.iter().map(|(name, value)| (name, value)))
        .env("AWS_LAMBDA_RUNTIME_API", api)
        .env("AWS_LAMBDA_FUNCTION_NAME", &spec.name)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", spec.memory_mb.to_string())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // In its own process group, so that Ctrl-C in the terminal does not reach it: the host ends its processes
        // itself.
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}
