//! The local stack: existing tools in place of the AWS services.

pub mod account;
pub mod administration;
pub mod backing;
pub mod buckets;
pub mod command;
pub mod connection;
pub mod database;
pub mod environment;
pub mod functions;
pub mod gateway;
pub mod http;
pub mod json_file;
pub mod layout;
pub mod ministack;
pub mod npm;
pub mod organization;
pub mod pgbouncer;
pub mod port;
pub mod postgres;
pub mod postgres_binaries;
pub mod process;
pub mod pump;
pub mod python;
pub mod queues;
pub mod secrets;
pub mod stack;
pub mod tools;

/// Prints a progress message. It uses stderr, because a shell evaluates the stdout of `cargo ringfence env`.
#[expect(clippy::print_stderr, reason = "a command line tool prints its progress")]
pub fn progress(what: &str) {
    eprintln!("  {what}");
}
