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

/// As Lambda limits it.
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// A function to host.
#[derive(Clone, Debug)]
pub struct FunctionSpec {
    /// Its name: what it is invoked by.
    pub name: String,
    /// Its binary.
    pub binary: PathBuf,
    /// How many environments it has, and so how many invocations at the same time.
    pub environments: usize,
    /// What the function is told of its memory, in MB. It is not limited to that.
    pub memory_mb: u32,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// Its environment variables, besides Lambda's own. It gets no others.
    pub variables: Vec<(String, String)>,
    /// Where its output is appended.
    pub log: PathBuf,
}

/// A function that is hosted.
pub(super) struct Function {
    spec: FunctionSpec,
    arn: String,
    environments: Vec<Environment>,
    pool: Mutex<Pool>,
}

/// Who waits for whom. Never are there both idle environments and waiting invocations.
#[derive(Default)]
struct Pool {
    /// Environments that ask for an invocation, by their index. The last one asked last and is used first, as in Lambda.
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

    /// Its name in full.
    pub(super) fn arn(&self) -> &str {
        &self.arn
    }

    /// The environment with this index.
    pub(super) fn environment(&self, index: usize) -> Option<&Environment> {
        self.environments.get(index)
    }

    pub(super) fn environments(&self) -> std::ops::Range<usize> {
        0..self.environments.len()
    }

    /// How long an invocation may take.
    pub(super) fn timeout(&self) -> Duration {
        self.spec.timeout
    }

    /// How the processes that run now started.
    pub(super) fn starts(&self) -> Vec<Start> {
        self.environments.iter().filter_map(Environment::start).collect()
    }

    /// Invokes the function: waits for a free environment, then for the answer.
    pub(super) async fn invoke(&self, payload: Bytes) -> Answer {
        let (respond, answer) = oneshot::channel();
        self.dispatch(Invocation { id: Uuid::new_v4(), payload, respond });
        answer.await.unwrap_or(Err(InvocationError::Died))
    }

    /// The next invocation for an environment whose process of this generation asks for one. None: that process is gone.
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

    /// Keeps a process running in the environment. `api` is where it finds the Runtime API.
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

    /// Waits until every environment is through its init.
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

    /// Kills every process. They are replaced; returns when no invocation can meet the old ones.
    pub(super) async fn kill(&self) {
        futures_util::future::join_all(self.environments.iter().map(Environment::kill)).await;
    }

    /// Hands an invocation to the environment that has been idle for the shortest time, or lets it wait.
    fn dispatch(&self, mut invocation: Invocation) {
        let mut pool = self.pool();
        while let Some((_, environment)) = pool.idle.pop() {
            match environment.send(invocation) {
                Ok(()) => return,
                // Its process has just closed the connection.
                Err(back) => invocation = back,
            }
        }
        pool.waiting.push_back(invocation);
        if let Some(environment) = pool.down.pop().and_then(|index| self.environments.get(index)) {
            environment.want();
        }
    }

    /// Hands nothing more to the environment's process.
    fn forget(&self, index: usize) {
        self.pool().idle.retain(|(idle, _)| *idle != index);
    }

    /// Whether an environment whose process failed in its init stays without one until it is wanted. As in Lambda, it takes the
    /// invocation along that waits for it, and is not started again for nothing.
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
        // Nothing panics while it holds the lock, and the value is whole at any time.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// The invocation that has waited longest and that somebody still waits for.
    fn take_waiting(&mut self) -> Option<Invocation> {
        std::iter::from_fn(|| self.waiting.pop_front()).find(|invocation| !invocation.respond.is_closed())
    }
}
