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

/// How a process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its process id.
    pub pid: u32,
    /// When it was executed.
    pub executed: Instant,
    /// When it asked for its first invocation, which ends its init; none as long as it did not.
    pub polled: Option<Instant>,
}

/// Where an environment is in its life.
#[derive(Clone, Debug)]
pub(super) enum Life {
    /// Its process is about to be executed.
    New,
    /// Its process runs.
    Running(Start),
    /// Its process could not be executed or ended in its init, for this reason. The next invocation starts another one.
    Down(String),
}

/// The place of one process at a time.
pub(super) struct Environment {
    life: watch::Sender<Life>,
    /// The process that is to be killed. Its id, so that a request that comes too late does not meet the next process.
    condemned: watch::Sender<u32>,
    /// An invocation wants a process that is down.
    wanted: Notify,
    /// How many processes it has had. What still arrives from an earlier one is told by it.
    generation: AtomicU64,
    current: Mutex<Option<Current>>,
}

/// The invocation that the process works on.
struct Current {
    invocation: Invocation,
    deadline: Instant,
    limit: Duration,
}

/// What the process gets for an invocation.
pub(super) struct Handover {
    pub(super) id: Uuid,
    pub(super) payload: Bytes,
    /// In milliseconds since 1970.
    pub(super) deadline_ms: u128,
}

/// How a process ended.
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

    /// Where it is in its life, now and from now on.
    pub(super) fn life(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    /// How its process started, if it runs.
    pub(super) fn start(&self) -> Option<Start> {
        match &*self.life.borrow() {
            Life::Running(start) => Some(*start),
            Life::New | Life::Down(_) => None,
        }
    }

    /// Which of its processes is meant now.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Runs one process from its execution to its end. `api` is where it finds the Runtime API.
    pub(super) async fn run(&self, spec: &FunctionSpec, api: &str) -> Exit {
        let exit = match self.execute(spec, &format!("{api}/{}", self.generation())) {
            Ok(child) => self.attend(child, spec.timeout).await,
            Err(error) => Exit { failure: InvocationError::Died, status: Err(error) },
        };
        self.generation.fetch_add(1, Ordering::SeqCst);
        exit
    }

    /// Fails what the process worked on. The reason why it never came through its init, if it did not.
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

    /// The process asks for an invocation: its init is over.
    pub(super) fn polled(&self) {
        self.life.send_if_modified(|life| match life {
            Life::Running(start) if start.polled.is_none() => {
                start.polled = Some(Instant::now());
                true
            }
            _ => false,
        });
    }

    /// Hands an invocation to the process, whose time starts to count.
    pub(super) fn begin(&self, invocation: Invocation, limit: Duration) -> Handover {
        let deadline = SystemTime::now() + limit;
        let handover = Handover {
            id: invocation.id,
            payload: invocation.payload.clone(),
            deadline_ms: deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis(),
        };
        // One that the process never answered is dropped here, and with it the hope of who waits for it.
        *self.current() = Some(Current { invocation, deadline: Instant::now() + limit, limit });
        handover
    }

    /// Ends the invocation with this id. False: the process does not work on it.
    pub(super) fn finish(&self, id: &str, answer: Answer) -> bool {
        let finished = self.current().take_if(|current| current.invocation.id.to_string() == id);
        let Some(Current { invocation, .. }) = finished else { return false };
        // Who waited may be gone; the function did its work all the same.
        let _ = invocation.respond.send(answer);
        true
    }

    /// Kills the process and returns when it is gone.
    pub(super) async fn kill(&self) {
        let Some(Start { pid, .. }) = self.start() else { return };
        let mut life = self.life();
        self.condemned.send_replace(pid);
        let is_gone = |life: &Life| !matches!(life, Life::Running(start) if start.pid == pid);
        // Fails when the host is gone, and then the process is too.
        let _ = life.wait_for(is_gone).await;
    }

    /// Asks for a process where there is none.
    pub(super) fn want(&self) {
        self.wanted.notify_one();
    }

    /// Returns when a process is asked for.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    fn execute(&self, spec: &FunctionSpec, api: &str) -> io::Result<Child> {
        let mut command = command(spec, api)?;
        let executed = Instant::now();
        let mut result = None;
        // Under the lock of the life, so that the process does not ask for an invocation before it is known to run.
        self.life.send_modify(|life| {
            let child = command.spawn();
            if let Ok(child) = &child {
                *life = Life::Running(Start { pid: child.id().unwrap_or_default(), executed, polled: None });
            }
            result = Some(child);
        });
        result.unwrap_or_else(|| Err(io::ErrorKind::Other.into()))
    }

    /// Waits for the end of a process, and brings it about when it is condemned or an invocation takes too long.
    async fn attend(&self, mut child: Child, limit: Duration) -> Exit {
        let pid = child.id().unwrap_or_default();
        let failure = tokio::select! {
            status = child.wait() => return Exit { failure: InvocationError::Died, status },
            () = self.condemned(pid) => InvocationError::Died,
            limit = self.overdue(limit) => InvocationError::TimedOut(limit),
        };
        // A failure means that it has just ended by itself.
        let _ = child.start_kill();
        Exit { failure, status: child.wait().await }
    }

    /// Returns when the process is to be killed.
    async fn condemned(&self, pid: u32) {
        // The sender lives as long as this does.
        let _ = self.condemned.subscribe().wait_for(|condemned| *condemned == pid).await;
    }

    /// Returns when an invocation takes longer than it may, with how long that is.
    async fn overdue(&self, limit: Duration) -> Duration {
        loop {
            // No invocation that begins later is due earlier, so to look then is soon enough.
            let (due, limit) = self.due().unwrap_or_else(|| (Instant::now() + limit, limit));
            tokio::time::sleep_until(due).await;
            if self.due().is_some_and(|(due, _)| due <= Instant::now()) {
                return limit;
            }
        }
    }

    /// When the current invocation is due, and how long it may take.
    fn due(&self) -> Option<(Instant, Duration)> {
        self.current().as_ref().map(|current| (current.deadline, current.limit))
    }

    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        // Nothing panics while it holds the lock, and the value is whole at any time.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The binary with the environment that Lambda would give it, and nothing of the tool's own.
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
        // Out of reach of the terminal's Ctrl-C: the host ends its processes itself.
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}
