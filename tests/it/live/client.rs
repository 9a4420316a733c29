//! The client module in Node.

use std::process::Stdio;

use ringfence_harness::testing::{Call, eventually};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../functions/live/client");
/// Prints a line for each frame, and one after it has connected.
const SCRIPT: &str = r#"
    const { RingfenceLive } = await import(process.argv[1]);
    new RingfenceLive({
        url: process.argv[2],
        token: async () => process.argv[3],
        onFrame: (frame) => console.log(frame.seq, frame.type),
        onReset: () => console.log("reset"),
        onState: (state) => console.log(state),
        onError: (error) => console.log("error", error),
    });
"#;

fn node() -> Command {
    let mut node = Command::new("node");
    node.kill_on_drop(true).stdin(Stdio::null());
    node
}

/// D7: the client module's own tests, with a simulated clock and simulated sockets.
#[tokio::test]
async fn the_browser_module_keeps_its_promises() {
    let output = node().arg("--test").arg(FOLDER).output().await.expect("Node.js, which the README asks for");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// D7: with the real function, the client receives pushed frames and frames that were committed without a push.
#[tokio::test]
async fn the_browser_module_has_every_frame() {
    let stage = Stage::new().await;
    let mut node = node();
    // Browsers and later versions of Node need no flag for WebSocket.
    node.args(["--experimental-websocket", "--input-type=module", "--eval", SCRIPT]);
    node.arg(format!("{FOLDER}/ringfence-live.js")).arg(stage.gateway.url()).arg(token(stage.org, TIMEOUT));
    let mut child = node.stdout(Stdio::piped()).spawn().expect("Node.js, which the README asks for");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || tokio::time::timeout(TIMEOUT, lines.next_line()).await.expect("a line").unwrap().unwrap();
    while next().await != "open" {}
    let active = "live_connections WHERE state = 'active'";
    eventually("the client is active", async || (stage.count(active).await > 0).then_some(())).await;

    let call = Call::default();
    ringfence_harness::testing::database::apply(&stage.app, stage.org, &call.status("ringing", 0)).await;
    stage.post(&[call.transcript("Yes.", 5_000), call.report(60_000, json!({}))]).await;
    let mut frames = Vec::new();
    while frames.len() < 3 {
        frames.push(next().await);
    }
    frames.sort();
    let types: Vec<_> = frames.iter().filter_map(|frame| Some(frame.split_once(' ')?.1)).collect();
    assert_eq!(types, ["call.status", "transcript.final", "call.report"]);
}
