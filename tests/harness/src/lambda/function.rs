//! A function: its execution environments, and the invocations that wait for one.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::environment::{Environment, Life, Start};
use super::invocation::{Answer, Invocation, InvocationError};
use crate::error::{Error, Result};
use crate::local::process::log_tail;
use crate::local::queues::REGION;

/// Lambda's limit for the init.
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// Specification of a function to host.
#[derive(Clone, Debug)]
pub struct FunctionSpec {
    /// Name under which it is invoked.
    pub name: String,
    /// Path of its binary.
    pub binary: PathBuf,
    /// Number of environments, which is the number of concurrent invocations.
    pub environments: usize,
    /// Memory size in MB that the function reads from its environment. The host does not enforce it.
    pub memory_mb: u32,
    /// Timeout of an invocation.
    pub timeout: Duration,
    /// Its environment variables, besides Lambda's own. It receives no others.
    pub variables: Vec<(String, String)>,
    /// File to which its output is appended.
    pub log: PathBuf,
}

/// A hosted function.
pub(super) struct Function {
    spec: FunctionSpec,
    arn: String,
    environments: Vec<Environment>,
    pool: Mutex<Pool>,
}

/// Idle environments and waiting invocations. At most one of the two lists has entries.
#[derive(Default)]
struct Pool {
    /// Environments that request an invocation, by index. The last one to request is used first, as in Lambda.
    idle: Vec<(usize, oneshot::Sender<Invocation>)>,
    waiting: VecDeque<Invocation>,
    /// Environments without a process.
    down: Vec<usize>,
}

impl Function {
    pub(super) fn new(spec: FunctionSpec) -> Self {
        let environments = (0..spec.environments).map(|_| Environment::new()).collect();
        let arn = format!("arn:aws:lambda:{REGION}:000000000000:function:{}", spec.name);
        Self { spec, arn, environments, pool: Mutex::default() }
    }

    /// ARN of the function.
    pub(super) fn arn(&self) -> &str {
        &self.arn
    }

    /// Environment with this index.
    pub(super) fn environment(&self, index: usize) -> Option<&Environment> {
        self.environments.get(index)
    }

    pub(super) fn environments(&self) -> std::ops::Range<usize> {
        0..self.environments.len()
    }

    /// Timeout of an invocation.
    pub(super) fn timeout(&self) -> Duration {
        self.spec.timeout
    }

    /// Starts of the processes that run now.
    pub(super) fn starts(&self) -> Vec<Start> {
        self.environments.iter().filter_map(Environment::start).collect()
    }

    /// Invokes the function: waits for a free environment, then for the answer.
    pub(super) async fn invoke(&self, payload: Bytes) -> Answer {
        let (respond, answer) = oneshot::channel();
        self.dispatch(Invocation { id: Uuid::new_v4(), payload, respond });
        answer.await.unwrap_or(Err(InvocationError::Died))
    }

    /// Next invocation for an environment whose process of this generation requests one. `None` if that process has
    /// ended.
    pub(super) async fn next(&self, index: usize, generation: u64) -> Option<Invocation> {
        let environment = self.environment(index)?;
        let invocation = {
            let mut pool = self.pool();
            if environment.generation() != generation {
                return None;
            }
            environment.polled();
            if let Some(invocation) = pool.take_waiting() {
                return Some(invocation);
            }
            let (sender, invocation) = oneshot::channel();
            pool.idle.push((index, sender));
            invocation
        };
        invocation.await.ok()
    }

    /// Keeps a process running in the environment. `api` is the URL of the Runtime API.
    pub(super) async fn keep(self: Arc<Self>, index: usize, api: String) {
        let Some(environment) = self.environments.get(index) else { return };
        loop {
            let exit = environment.run(&self.spec, &api).await;
            self.forget(index);
            if environment.bury(exit).is_some_and(|reason| self.is_down(index, reason)) {
                environment.wanted().await;
            }
        }
    }

    /// Waits until every environment has completed its init.
    pub(super) async fn ready(&self) -> Result<()> {
        for environment in &self.environments {
            let mut life = environment.life();
            let through = |life: &Life| match life {
                Life::New => false,
                Life::Running(start) => start.polled.is_some(),
                Life::Down(_) => true,
            };
            let life = tokio::time::timeout(INIT_LIMIT, life.wait_for(through)).await;
            match life.map(|life| life.map(|life| life.clone())) {
                Ok(Ok(Life::Running(_))) => {}
                Ok(Ok(Life::Down(reason))) => return Err(self.failure(&reason)),
                Ok(_) => return Err(self.failure("its host ended")),
                Err(_) => return Err(self.failure("its init takes too long")),
            }
        }
        Ok(())
    }

    /// Kills every process and waits until no invocation can reach an old one. New processes replace them.
    pub(super) async fn kill(&self) {
        futures_util::future::join_all(self.environments.iter().map(Environment::kill)).await;
    }

    /// Hands an invocation to the environment that has been idle for the shortest time, or queues it.
    fn dispatch(&self, mut invocation: Invocation) {
        let mut pool = self.pool();
        while let Some((_, environment)) = pool.idle.pop() {
            match environment.send(invocation) {
                Ok(()) => return,
                // The process of that environment has just closed its connection.
                Err(back) => invocation = back,
            }
        }
        pool.waiting.push_back(invocation);
        if let Some(environment) = pool.down.pop().and_then(|index| self.environments.get(index)) {
            environment.want();
        }
    }

    /// Removes the environment from the idle list.
    fn forget(&self, index: usize) {
        self.pool().idle.retain(|(idle, _)| *idle != index);
    }

    /// Whether an environment whose process failed during its init stays without a process until an invocation needs
    /// it. As in Lambda, the waiting invocation fails with it, and the process is not started again without an
    /// invocation.
    fn is_down(&self, index: usize, reason: String) -> bool {
        let mut pool = self.pool();
        if let Some(invocation) = pool.take_waiting() {
            let _ = invocation.respond.send(Err(InvocationError::NotStarted(reason)));
        }
        let is_down = pool.waiting.is_empty();
        if is_down {
            pool.down.push(index);
        }
        is_down
    }

    fn failure(&self, what: &str) -> Error {
        let Self { spec: FunctionSpec { name, binary, log, .. }, .. } = self;
        let binary = binary.display();
        Error::new(format!("the function {name} ({binary}) could not be started: {what}; {}", log_tail(log)))
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        // No code panics while it holds the lock, and the value is consistent at any time.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Invocation that has waited longest and whose invoker still waits.
    fn take_waiting(&mut self) -> Option<Invocation> {
        std::iter::from_fn(|| self.waiting.pop_front()).find(|invocation| !invocation.respond.is_closed())
    }
}
