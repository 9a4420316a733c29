//! A host for Lambda functions: it runs their binaries as execution environments and speaks the Runtime API to them.
//!
//! [`host`] starts it all. Each [`function`] has its [`environment`]s, processes that serve one invocation at a time and that
//! are replaced when they die. [`server`] listens: [`runtime_api`] is what the processes poll, [`front`] is what API Gateway and
//! the Invoke API are in AWS, with the events of [`gateway`].

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
