//! A host for Lambda functions: it runs their binaries as execution environments and serves the Runtime API to them.
//!
//! [`host`] starts everything. Each [`function`] has its [`environment`]s, processes that serve one invocation at a
//! time and that are replaced when they end. [`server`] listens: the processes poll [`runtime_api`]; [`front`] replaces
//! API Gateway and the Invoke API, with the events of [`gateway`].

mod environment;
mod front;
mod function;
mod gateway;
mod host;
mod invocation;
mod runtime_api;
mod server;
#[cfg(test)]
mod tests;

pub use self::{function::FunctionSpec, gateway::Request, host::Host};
