//! Many viewers.

use futures_util::future::join_all;
use ringfence_harness::testing::Call;

use super::*;

const VIEWERS: usize = 100;
const WEBHOOKS: usize = 200;

/// D7: a hundred viewers receive every frame of two hundred webhooks, in the log's order and without duplicates after
/// they have dropped repeated frames (a push with a late answer is pushed again).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_viewers_have_every_frame() {
    let stage = Stage::new().await;
    let mut viewers = join_all((0..VIEWERS).map(|_| stage.viewer(stage.org))).await;
    let call = Call::default();
    let bodies: Vec<_> = (0..WEBHOOKS)
        .map(|number| call.transcript(&format!("Sentence {number}."), 1_000 + i64::try_from(number).unwrap()))
        .collect();
    let watching = async {
        tokio::join!(stage.post(&bodies), join_all(viewers.iter_mut().map(|viewer| viewer.wait_for(WEBHOOKS))));
    };
    // As many concurrent batches as the event source mapping allows.
    let broadcasting = join_all((0..5).map(|_| stage.broadcast()));
    tokio::select! {
        _ = broadcasting => unreachable!(),
        () = watching => (),
    }
    let expected: Vec<_> = (0..WEBHOOKS).map(|number| format!("Sentence {number}.")).collect();
    for viewer in &viewers {
        let texts: Vec<_> = viewer.frames.values().map(|frame| frame["text"].as_str().unwrap()).collect();
        assert_eq!(texts, expected);
    }
}
