//! `cargo ringfence <verb>`: one tool for people, README and CI.
//!
//! A verb is a file in [`verbs`] with its arguments and a `run`, and a line in [`Verb`]. [`local`] is the local stack,
//! [`administration`] changes orgs, here or on a deployed stack, [`simulate`] makes the calls that try it all, [`deployed`]
//! tries the template, [`drill`] and [`bench`] try the promises, and [`lambda`] runs functions as Lambda does.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool answers on the terminal")]

mod administration;
mod arguments;
mod bench;
mod deployed;
mod drill;
mod endpoint;
mod error;
mod interruption;
mod lambda;
mod local;
mod simulate;
mod verbs;
mod viewer;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use verbs::{
    agent, check_template, connect, console, doctor, down, drill as drills, env, erase, failures, gateway, lead,
    maintain, migrate, operations, org, pages, pump, redrive, replay, test, token, tool, up,
};

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
    Migrate(migrate::Migrate),
    Maintain(maintain::Maintain),
    Simulate(verbs::simulate::Simulate),
    Org(org::Org),
    Agent(agent::Agent),
    Lead(lead::Lead),
    Tool(tool::Tool),
    Console(console::Console),
    Pages(pages::Pages),
    Token(token::Token),
    Failures(failures::Failures),
    Redrive(redrive::Redrive),
    Operations(operations::Operations),
    Erase(erase::Erase),
    Connect(connect::Connect),
    Replay(replay::Replay),
    Drill(drills::Drill),
    Bench(verbs::bench::Bench),
    CheckTemplate(check_template::CheckTemplate),
    #[command(hide = true)]
    Pump(pump::Pump),
    #[command(hide = true)]
    Gateway(gateway::Gateway),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Up(verb) => verb.run().await,
        Verb::Down(verb) => verb.run().await,
        Verb::Env(verb) => verb.run().await,
        Verb::Test(verb) => verb.run().await,
        Verb::Doctor(verb) => verb.run().await,
        Verb::Migrate(verb) => verb.run().await,
        Verb::Maintain(verb) => verb.run().await,
        Verb::Simulate(verb) => verb.run().await,
        Verb::Org(verb) => verb.run().await,
        Verb::Agent(verb) => verb.run().await,
        Verb::Lead(verb) => verb.run().await,
        Verb::Tool(verb) => verb.run().await,
        Verb::Failures(verb) => verb.run().await,
        Verb::Redrive(verb) => verb.run().await,
        Verb::Operations(verb) => verb.run().await,
        Verb::Erase(verb) => verb.run().await,
        Verb::Connect(verb) => verb.run().await,
        Verb::Replay(verb) => verb.run().await,
        Verb::Drill(verb) => verb.run().await,
        Verb::Bench(verb) => verb.run().await,
        Verb::CheckTemplate(verb) => verb.run().await,
        Verb::Pump(verb) => verb.run().await,
        Verb::Gateway(verb) => verb.run().await,
        Verb::Console(verb) => verb.run().await,
        Verb::Pages(verb) => verb.run().await,
        Verb::Token(verb) => verb.run().await,
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
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
            "org create --name Acme --json",
            "org create --name Acme --stack ringfence --actor ops@example.com",
            "org list --json",
            "org rotate-key ORG",
            "org rotate-key ORG --overlap 0s --json",
            "agent add --org ORG --name Desk --role outbound --assistant a1 --squad s1 --phone-number-id p1",
            "agent add --org ORG --name Desk --phone-number +15555550100",
            "agent add --org ORG --name Desk --assistant a1 --default --configuration {\"variables\":{}}",
            "agent list --org ORG --stack ringfence",
            "agent configure ORG --org ORG --default false",
            "lead add --org ORG --phone +15555550142 --name Sam",
            "lead add --org ORG --phone +15555550142 --metadata {\"vip\":true}",
            "lead change --org ORG --phone +15555550142 --name Sam",
            "tool add --org ORG --name book --endpoint https://tools.example.com/book --timeout 8 --idempotent",
            "tool add --org ORG --message campaign.predial --endpoint https://tools.example.com/predial",
            "tool list --org ORG",
            "tool remove --org ORG --name book --stack ringfence",
            "tool secret --org ORG",
            "failures --org ORG --resolve tool-calls:c1:t1",
            "token --org ORG",
            "token --org ORG --lifetime 15m --stack ringfence",
            "failures --org ORG --code RF2001 --json",
            "redrive --type end-of-call-report --since 2026-11-24T08:00:00Z --run --rate 20 --stack ringfence",
            "replay --org ORG --call c1 --until 2026-11-24T08:00:00Z --run",
            "replay --failed --code RF2001",
            "operations --org ORG --limit 5 --json --stack ringfence",
            "erase --org ORG --number +15555550142 --run --stack ringfence",
            "erase --org ORG --call c1 --json",
            "org retention ORG --recordings 90 --transcripts forever --events 45",
            "org zero-retention ORG true --stack ringfence",
            "maintain reconcile --dry-run --stack ringfence",
            "connect --org ORG --run --stack ringfence",
            "doctor --org ORG",
            "migrate --stack ringfence",
            "doctor --stack ringfence",
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
    fn what_cannot_work_is_refused_with_what_to_write() {
        for (line, says) in [
            ("org rotate-key not-a-uuid", "UUID"),
            ("org rotate-key ORG --overlap soon", "24h"),
            ("org create --name ", "1 to 200"),
            ("agent add --org ORG --name Desk", "--assistant"),
            ("agent add --org ORG --name Desk --role boss --assistant a1", "outbound"),
            ("lead add --org ORG --phone 5550142", "E.164"),
            ("lead change --org ORG --phone +15555550142", "--metadata"),
            ("agent configure ORG --org ORG", "--configuration"),
            ("agent configure ORG --org ORG --configuration []", "JSON object"),
            ("tool add --org ORG --endpoint https://tools.example.com", "--message"),
            ("tool add --org ORG --message hang --endpoint https://tools.example.com", "campaign.predial"),
            ("tool add --org ORG --name book --endpoint https://tools.example.com --timeout 16", "1..=15"),
            ("failures --resolve tool-calls:c1:t1", "--org"),
            ("token --org ORG --lifetime 13h", "12h"),
            ("redrive --code RF9999", "failure code"),
            ("replay --rate 0", "1..="),
            ("erase --org ORG", "--number"),
            ("erase --org ORG --call c1 --number +15555550142", "cannot be used"),
            ("erase --org ORG --number 5550142", "E.164"),
            ("org retention ORG", "--recordings"),
            ("maintain everything", "clean-claims"),
            ("drill earthquake", "cold-outage"),
            ("simulate --calls 0", "1..="),
            ("simulate --rate 0", "more than 0"),
            ("simulate --org ORG", "--key"),
            ("simulate --key k --url https://ringfence.example", "--org"),
        ] {
            let error = parse(line).err().unwrap_or_default();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
