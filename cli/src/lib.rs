//! The operator's tool: orgs, agents, failures, erasure and maintenance of a stack.
//!
//! A verb is a file in [`verbs`] with its arguments and a `run`, and a variant of [`Verb`]. It uses a [`Backend`]: the
//! binary `ringfence` a [`DeployedStack`], the developer's `cargo ringfence` also the local stack.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool answers on the terminal")]

mod arguments;
pub mod backend;
mod deployed_stack;
pub mod error;
pub mod table;
pub mod verbs;

pub use backend::Backend;
pub use deployed_stack::DeployedStack;
pub use verbs::Verb;
