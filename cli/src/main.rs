//! `ringfence`: the operator's tool for deployed stacks.
#![expect(clippy::print_stderr, reason = "a command line tool reports its errors on the terminal")]

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser};
use ringfence_cli::{DeployedStack, Verb, error};

/// Operates a deployed Ringfence stack.
#[derive(Debug, Parser)]
#[command(name = "ringfence", version)]
struct Cli {
    /// CloudFormation name of the stack; required
    #[arg(long, value_name = "NAME", env = "RINGFENCE_STACK", global = true)]
    stack: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Cli { stack, verb } = Cli::parse();
    // clap cannot require an argument that is accepted after every verb.
    let Some(stack) = stack.filter(|name| !name.is_empty()) else {
        let message = "name the stack with --stack NAME or RINGFENCE_STACK";
        Cli::command().error(ErrorKind::MissingRequiredArgument, message).exit();
    };
    run(stack, verb).await.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

async fn run(stack: String, verb: Verb) -> error::Result<ExitCode> {
    verb.run(&DeployedStack::connect(stack).await?).await
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
            "replay --quarantined --org ORG --type something.new --run",
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
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
        }
    }

    #[test]
    fn invalid_input_is_refused_with_an_example() {
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
            ("org retention ORG", "--recordings"),
            ("maintain everything", "clean-claims"),
        ] {
            let error = parse(line).err().unwrap_or_default();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
