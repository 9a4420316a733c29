//! The host: functions, their environments and the listener, from start to end.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::environment::Start;
use super::function::{Function, FunctionSpec};
use super::invocation::{Answer, InvocationError};
use super::{runtime_api, server};
use crate::error::{Context, Result};

/// Functions by name.
pub(super) struct Functions(BTreeMap<String, Arc<Function>>);

impl Functions {
    pub(super) fn get(&self, name: &str) -> Option<&Function> {
        self.0.get(name).map(AsRef::as_ref)
    }

    pub(super) async fn invoke(&self, name: &str, payload: Bytes) -> Answer {
        match self.get(name) {
            Some(function) => function.invoke(payload).await,
            None => Err(InvocationError::NoSuchFunction(name.to_owned())),
        }
    }
}

/// Running functions with their execution environments. Their processes are killed on drop.
pub struct Host {
    address: SocketAddr,
    functions: Arc<Functions>,
    tasks: JoinSet<()>,
}

impl Host {
    /// Starts every environment of every function, and waits until all of them have completed their init.
    pub async fn start(specs: &[FunctionSpec]) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listen for functions")?;
        let address = listener.local_addr().context("listen for functions")?;
        let named = |spec: &FunctionSpec| (spec.name.clone(), Arc::new(Function::new(spec.clone())));
        let functions = Arc::new(Functions(specs.iter().map(named).collect()));

        let mut tasks = JoinSet::new();
        tasks.spawn(server::listen(listener, Arc::clone(&functions)));
        for (name, function) in &functions.0 {
            for index in function.environments() {
                let api = format!("http://{address}{}{name}/{index}", runtime_api::PREFIX);
                tasks.spawn(Arc::clone(function).keep(index, api));
            }
        }
        let host = Self { address, functions, tasks };
        for function in host.functions.0.values() {
            function.ready().await?;
        }
        Ok(host)
    }

    /// Base URL of the HTTP front: `POST /vapi/{org_id}`, `POST /vapi` and `GET /health` as behind API Gateway, and
    /// `POST /2015-03-31/functions/{name}/invocations` for raw invocations.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Invokes a function with an event. Waits for a free environment if there is none.
    pub async fn invoke(&self, name: &str, payload: Bytes) -> Answer {
        self.functions.invoke(name, payload).await
    }

    /// Kills every process of a function (SIGKILL) and waits until they have ended. Their invocations fail. A new
    /// process replaces each of them and serves the next invocation.
    pub async fn kill(&self, name: &str) {
        if let Some(function) = self.functions.get(name) {
            function.kill().await;
        }
    }

    /// Process ids of a function.
    #[must_use]
    pub fn pids(&self, name: &str) -> Vec<u32> {
        self.starts(name).iter().map(|start| start.pid).collect()
    }

    /// Starts of a function's processes.
    pub fn starts(&self, name: &str) -> Vec<Start> {
        self.functions.get(name).map(Function::starts).unwrap_or_default()
    }

    /// Kills every process and waits until they have ended.
    pub async fn stop(mut self) {
        let functions = self.functions.0.values();
        futures_util::future::join_all(functions.map(|function| function.kill())).await;
        self.tasks.shutdown().await;
    }
}
