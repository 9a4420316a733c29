//! The local stack: from maintained parts, what AWS gives in the cloud.

pub(crate) mod account;
pub(crate) mod backing;
pub(crate) mod buckets;
pub(crate) mod command;
pub(crate) mod connection;
pub(crate) mod database;
pub(crate) mod environment;
pub(crate) mod functions;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod json_file;
pub(crate) mod layout;
pub(crate) mod ministack;
pub(crate) mod organization;
pub(crate) mod pgbouncer;
pub(crate) mod port;
pub(crate) mod postgres;
pub(crate) mod postgres_binaries;
pub(crate) mod process;
pub(crate) mod pump;
pub(crate) mod python;
pub(crate) mod queues;
pub(crate) mod secrets;
pub(crate) mod stack;
pub(crate) mod tools;

/// Says what is being done. Not on stdout, which a shell evaluates after `cargo ringfence env`.
pub(crate) fn progress(what: &str) {
    eprintln!("  {what}");
}
