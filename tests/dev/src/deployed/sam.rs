//! The SAM CLI: build, deploy, validate.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use tokio::process::Command;

use super::STACK;
use super::tools::SamTools;
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::local::command::{logged, output};
use ringfence_harness::local::layout::Layout;
use ringfence_harness::local::progress;
use ringfence_harness::local::queues::{ACCESS_KEY, REGION};
use ringfence_harness::local::tools::Tools;

/// An address where no server listens, for commands that must not use a cloud.
const NOWHERE: &str = "http://127.0.0.1:9";

/// `sam build`: debug builds for this machine.
pub(super) async fn build(layout: &Layout, tools: &Tools, sam_tools: &SamTools) -> Result<()> {
    let log = layout.logs().join("sam-build.log");
    progress(&format!("Building the functions with SAM (minutes the first time; log: {})", log.display()));
    let mut build = sam(layout, sam_tools, NOWHERE);
    build
        .args(["build", "--parameter-overrides", &architecture(), "--build-dir"])
        .arg(folder(layout))
        .env("PATH", tools.path_variable())
        .env("SAM_BUILD_MODE", "debug")
        .env("CARGO_LAMBDA_COMPILER", "cargo")
        // Without it, cargo-lambda would ask rustup to add a target that is already installed.
        .env("CARGO_LAMBDA_BUILD", "{skip_target_check=true}")
        // SAM builds one function after another. With the features of dependencies unified over the whole workspace, as
        // in all other builds, no dependency is built twice.
        .env("CARGO_LAMBDA_COMPILER_EXTRA_ARGS", "--workspace")
        // The functions run with the OpenSSL of this machine.
        .env("OPENSSL_NO_VENDOR", "1");
    logged(&mut build, &log, "build the functions with SAM").await?;
    strip(layout).await
}

/// Push endpoint in the built template. The local cloud has no host name per API.
const PUSH_ENDPOINT: &str = "https://${WebSocketApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}/live";

/// Concurrency of the event source mappings in the built template. CloudFormation converts the parameters to numbers; the
/// local cloud does not, and its pollers fail.
const CONCURRENCY: [&str; 3] = ["RetryConcurrency", "BroadcastConcurrency", "RecordingConcurrency"];

/// Replaces the push endpoint in the built template by that of the local cloud, and the concurrency by a number. The rest
/// of the template is deployed unchanged.
pub(super) fn adapt_template(layout: &Layout, endpoint: &str) -> Result<()> {
    let path = folder(layout).join("template.yaml");
    let template = fs::read_to_string(&path).context("read the built template")?;
    if !template.contains(PUSH_ENDPOINT) {
        return Err(Error::new(format!("the built template does not contain {PUSH_ENDPOINT}")));
    }
    let local = format!("{endpoint}/_aws/execute-api/${{WebSocketApi}}/live");
    let mut adapted = template.replace(PUSH_ENDPOINT, &local);
    for parameter in CONCURRENCY {
        let reference = format!("MaximumConcurrency:\n          Ref: {parameter}\n");
        if !adapted.contains(&reference) {
            return Err(Error::new(format!("the built template does not use {parameter}")));
        }
        adapted = adapted.replace(&reference, "MaximumConcurrency: 5\n");
    }
    fs::write(&path, adapted).context("write the built template")
}

/// Runs `sam deploy` with these parameters in addition to the architecture.
pub(super) async fn deploy(layout: &Layout, sam_tools: &SamTools, endpoint: &str, parameters: &[String]) -> Result<()> {
    let log = layout.logs().join("sam-deploy.log");
    progress(&format!("Deploying with SAM (log: {})", log.display()));
    let mut deploy = sam(layout, sam_tools, endpoint);
    deploy
        .args(["deploy", "--stack-name", STACK, "--no-confirm-changeset", "--no-progressbar", "--template-file"])
        .arg(folder(layout).join("template.yaml"))
        // SAM would otherwise look for the file in the folder of the built template.
        .arg("--config-file")
        .arg(layout.root().join("samconfig.toml"))
        .arg("--parameter-overrides")
        .args(parameters)
        .arg(architecture());
    logged(&mut deploy, &log, "deploy with SAM").await.map_err(|error| {
        let failure = fs::read_to_string(&log).ok().and_then(|log| first_failure(&log));
        match failure {
            Some(failure) => Error::new(format!("{error}\n{failure}")),
            None => error,
        }
    })
}

/// First resource that failed, with its reason, from SAM's table of events. The log ends with the removal of all other
/// resources.
fn first_failure(log: &str) -> Option<String> {
    let lines: Vec<&str> = log.lines().skip_while(|line| !line.contains("_FAILED ")).collect();
    let (first, rest) = lines.split_first()?;
    // A reason continues in lines that begin with an empty column.
    let reason = rest.iter().take_while(|line| line.starts_with(' '));
    let lines: Vec<&str> = std::iter::once(first).chain(reason).map(|line| line.trim_end()).collect();
    Some(format!("first failure:\n  | {}", lines.join("\n  | ")))
}

/// Outputs of the deployed stack.
pub(super) async fn outputs(layout: &Layout, sam_tools: &SamTools, endpoint: &str) -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Output {
        output_key: String,
        output_value: String,
    }
    let mut list = sam(layout, sam_tools, endpoint);
    list.args(["list", "stack-outputs", "--stack-name", STACK, "--output", "json"]);
    let printed = output(&mut list, "list the stack's outputs").await?;
    let outputs: Vec<Output> = serde_json::from_str(&printed).context("read the stack's outputs")?;
    Ok(outputs.into_iter().map(|output| (output.output_key, output.output_value)).collect())
}

/// Runs `sam validate --lint` and cfn-lint. Their findings are printed to the terminal.
pub(crate) async fn check_template(layout: &Layout) -> Result<()> {
    let tools = SamTools::install(layout).await?;
    let mut validate = sam(layout, &tools, NOWHERE);
    validate.args(["validate", "--lint"]);
    let mut lint = Command::from(tools.command("cfn-lint"));
    lint.args(["--regions", REGION, "--template", "template.yaml"]).current_dir(layout.root());
    for (name, check) in [("sam validate --lint", &mut validate), ("cfn-lint", &mut lint)] {
        let status = check.status().await.context(format_args!("run {name}"))?;
        if !status.success() {
            return Err(Error::new(format!("{name} found faults in template.yaml")));
        }
    }
    Ok(())
}

/// The SAM CLI with the endpoint and local credentials only, so that it never uses the developer's AWS account.
fn sam(layout: &Layout, sam_tools: &SamTools, endpoint: &str) -> Command {
    let mut command = Command::from(sam_tools.command("sam"));
    for name in ["AWS_PROFILE", "AWS_SESSION_TOKEN"] {
        command.env_remove(name);
    }
    command
        .current_dir(layout.root())
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_DEFAULT_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", ACCESS_KEY)
        .env("SAM_CLI_TELEMETRY", "0");
    command
}

/// Folder of SAM's build output.
fn folder(layout: &Layout) -> PathBuf {
    layout.path("sam")
}

fn architecture() -> String {
    let name = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    format!("Architecture={name}")
}

/// Debug information is most of the size of the binaries, which are packed and uploaded.
async fn strip(layout: &Layout) -> Result<()> {
    let folders = fs::read_dir(folder(layout)).context("list what SAM built")?;
    let binaries = folders.filter_map(|entry| Some(entry.ok()?.path().join("bootstrap"))).filter(|file| file.is_file());
    output(Command::new("strip").args(binaries.collect::<Vec<_>>()), "strip the functions").await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_found_with_its_whole_reason() {
        let log = "\
CREATE_COMPLETE          AWS::SQS::Queue          TranscriptQueue
CREATE_FAILED            Custom::Migration        Migration                db error: relation
                                                                           already exists
ROLLBACK_IN_PROGRESS     AWS::CloudFormation::S   ringfence
                         tack
CREATE_FAILED            AWS::SQS::Queue          CallEndedQueue           another
";
        let failure = first_failure(log).unwrap();
        assert!(failure.contains("Migration") && failure.ends_with("already exists"), "{failure}");
        assert_eq!(first_failure("Error: no such file"), None);
    }
}
