//! `cargo ringfence <verb>`: one tool for people, README and CI.
//!
//! A verb is a file in [`verbs`] with its arguments and a `run`, and a line in [`Verb`]. [`local`] is the local stack.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool answers on the terminal")]

mod error;
mod interruption;
mod local;
mod verbs;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use verbs::{doctor, down, env, pump, test, up};

/// Ringfence: a backend on Vapi webhooks.
#[derive(Debug, Parser)]
#[command(name = "cargo ringfence", bin_name = "cargo ringfence", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Up(up::Up),
    Down(down::Down),
    Env(env::Env),
    Test(test::Test),
    Doctor(doctor::Doctor),
    #[command(hide = true)]
    Pump(pump::Pump),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Up(verb) => verb.run().await,
        Verb::Down(verb) => verb.run().await,
        Verb::Env(verb) => verb.run().await,
        Verb::Test(verb) => verb.run().await,
        Verb::Doctor(verb) => verb.run().await,
        Verb::Pump(verb) => verb.run().await,
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
