//! `cargo ringfence <verb>`: the tool for developers and CI.
//!
//! It has the verbs of the operator's tool (`cli/`), which use the local stack unless `--stack` names a deployed one,
//! and its own verbs, each a file in [`verbs`]: the local stack, tests, simulated calls, drills and benchmarks.
//! [`deployed`] deploys the template to a local cloud.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool answers on the terminal")]

mod demonstration;
mod deployed;
mod verbs;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ringfence_cli::DeployedStack;
use ringfence_harness::error::{self, Error};
use ringfence_harness::local::administration::LocalStack;

use verbs::{bench, check_template, doctor, down, drill, env, gateway, pages, pump, simulate, test, up};

/// Ringfence: a backend on Vapi webhooks.
#[derive(Debug, Parser)]
#[command(name = "cargo ringfence", bin_name = "cargo ringfence", version)]
struct Cli {
    /// A deployed stack for operator's verbs, by its CloudFormation name; without it, the local stack
    #[arg(long, value_name = "NAME", global = true)]
    stack: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Up(up::Up),
    Down(down::Down),
    Env(env::Env),
    Test(test::Test),
    Simulate(simulate::Simulate),
    Pages(pages::Pages),
    Drill(drill::Drill),
    Bench(bench::Bench),
    CheckTemplate(check_template::CheckTemplate),
    #[command(flatten)]
    Operator(ringfence_cli::Verb),
    #[command(hide = true)]
    Pump(pump::Pump),
    #[command(hide = true)]
    Gateway(gateway::Gateway),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { stack, verb } = Cli::parse();
    run(stack, verb).await.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

async fn run(stack: Option<String>, verb: Verb) -> error::Result<ExitCode> {
    match (verb, stack) {
        (Verb::Operator(verb), Some(stack)) => verb.run(&DeployedStack::connect(stack).await?).await,
        (_, Some(_)) => Err(Error::new("this verb works on this machine: leave out --stack")),
        (Verb::Operator(ringfence_cli::Verb::Doctor(verb)), None) => doctor::run(verb).await,
        (Verb::Operator(verb), None) => verb.run(&LocalStack).await,
        (Verb::Up(verb), None) => verb.run().await,
        (Verb::Down(verb), None) => verb.run().await,
        (Verb::Env(verb), None) => verb.run().await,
        (Verb::Test(verb), None) => verb.run().await,
        (Verb::Simulate(verb), None) => verb.run().await,
        (Verb::Pages(verb), None) => verb.run().await,
        (Verb::Drill(verb), None) => verb.run().await,
        (Verb::Bench(verb), None) => verb.run().await,
        (Verb::CheckTemplate(verb), None) => verb.run().await,
        (Verb::Pump(verb), None) => verb.run().await,
        (Verb::Gateway(verb), None) => verb.run().await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    const ORG: &str = "8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11";

    fn parse(line: &str) -> Result<Cli, String> {
        let words = line.replace("ORG", ORG);
        Cli::try_parse_from(std::iter::once("ringfence").chain(words.split(' '))).map_err(|error| error.to_string())
    }

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_documented_line_is_understood() {
        for line in [
            "org create --name Acme --stack ringfence --actor ops@example.com",
            "org list --json",
            "doctor --org ORG",
            "up --deployed",
            "check-template",
            "drill",
            "drill outage kill --short",
            "bench",
            "bench throughput wire --short",
            "simulate",
            "simulate --calls 50 --rate 20 --shuffle --duplicates 3 --concurrency 16",
            "simulate --org ORG --key rf_a_1_x --url https://ringfence.example/vapi/ORG",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
        }
    }

    #[test]
    fn invalid_input_is_refused_with_an_example() {
        for (line, says) in [
            ("org rotate-key not-a-uuid", "UUID"),
            ("drill earthquake", "cold-outage"),
            ("simulate --calls 0", "1..="),
            ("simulate --rate 0", "greater than 0"),
            ("simulate --org ORG", "--key"),
            ("simulate --key k --url https://ringfence.example", "--org"),
        ] {
            let error = parse(line).err().unwrap_or_default();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
