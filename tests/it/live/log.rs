//! The org's log is authoritative: a resume contains every frame that a push missed.

use ringfence_harness::testing::{Call, database, eventually};

use super::*;

/// D7: if a function dies between its commit and its push, a viewer that resumes still receives the frame.
#[tokio::test]
async fn a_commit_without_a_push_is_resumed() {
    let stage = Stage::new().await;
    let mut viewer = stage.viewer(stage.org).await;
    // Committed by the same statement, without a push.
    database::apply(&stage.app, stage.org, &Call::default().status("ringing", 0)).await;
    viewer.resume().await;
    assert_eq!(viewer.types(), ["call.status"]);
}

/// D7: a viewer that is disconnected in the middle of a thousand frames receives all of them after it resumes, page by
/// page.
#[tokio::test]
async fn a_viewer_cut_off_misses_nothing() {
    const FRAMES: usize = 1_000;
    let stage = Stage::new().await;
    let mut viewer = stage.viewer(stage.org).await;
    let call = Call::default();
    for number in 0..FRAMES {
        if number == FRAMES / 2 {
            viewer.wait_for(FRAMES / 4).await;
            drop(std::mem::replace(
                &mut viewer.socket,
                stage.connect(&token(stage.org, TIMEOUT)).await.unwrap().socket,
            ));
        }
        let ms = 1_000 + i64::try_from(number).unwrap();
        stage.post(&[call.transcript(&format!("Sentence {number}."), ms)]).await;
    }
    assert!(viewer.frames.len() < FRAMES);
    let pages = viewer.resume().await;
    assert!(pages.len() > 2, "{}", pages.len());
    let texts: Vec<_> = viewer.frames.values().map(|frame| frame["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts, (0..FRAMES).map(|number| format!("Sentence {number}.")).collect::<Vec<_>>());
}

/// D7: the events of a transaction that was open while later ones committed are not skipped.
#[tokio::test]
async fn a_transaction_held_open_hides_nothing() {
    let stage = Stage::new().await;
    let mut viewer = stage.viewer(stage.org).await;
    let held = stage.database.client("ringfence_app").await;
    let (late, early) = (Call::default(), Call::default());
    let claim = |call: &Call| {
        format!(
            "SELECT outcome FROM apply_event_v1('{}', 1, 'status-update:{id}:ringing:x',
                '{{\"kind\": \"call-started\", \"event_type\": \"status-update\", \"status\": \"ringing\", \"call\": {{\"id\": \"{id}\"}}}}',
                now())",
            stage.org,
            id = call.id
        )
    };
    held.batch_execute("BEGIN").await.unwrap();
    held.query_one(&claim(&late), &[]).await.unwrap();
    for _ in 0..5 {
        database::apply(&stage.app, stage.org, &early.transcript("Yes.", 5_000)).await;
        database::apply(&stage.app, stage.org, &Call::default().status("ringing", 0)).await;
    }
    viewer.resume().await;
    let seen = viewer.frames.len();
    assert_eq!(seen, 6);
    viewer.resume().await;
    assert_eq!(viewer.frames.len(), seen);
    held.batch_execute("COMMIT").await.unwrap();
    viewer.resume().await;
    assert_eq!(viewer.frames.len(), seen + 1);
    let first = viewer.frames.values().next().unwrap();
    assert_eq!(first["call_id"], late.id, "it has the lowest sequence of all, and came last");
}

/// D7, E12: no page exceeds the maximum size of a WebSocket frame, 32 KB, over which API Gateway closes the
/// connection.
#[tokio::test]
async fn long_frames_make_short_pages() {
    let stage = Stage::new().await;
    let mut viewer = stage.viewer(stage.org).await;
    for number in 0..60 {
        let text = format!("{number} {}", "word ".repeat(2_000));
        database::apply(&stage.app, stage.org, &Call::default().transcript(&text, 1_000)).await;
    }
    let pages = viewer.resume().await;
    assert_eq!(viewer.frames.len(), 60);
    assert!(pages.len() >= 10 && pages.iter().all(|page| page.to_string().len() < 32 * 1024), "{}", pages.len());
}

/// D7: a cursor before the beginning of the log, or of another database, causes an explicit reset, from which the
/// viewer continues.
#[tokio::test]
async fn a_cursor_beyond_the_log_is_a_reset() {
    let stage = Stage::new().await;
    let mut viewer = stage.viewer(stage.org).await;
    let cursors = masters().live_tokens().cursor_sealer();
    let early: u64 = cursors.open(viewer.cursor.as_deref().unwrap()).unwrap().parse().unwrap();
    let cleaned = format!("UPDATE organizations SET log_start = '{}'", early + 1);
    stage.database.superuser().await.batch_execute(&cleaned).await.unwrap();
    // Other activity on the server affects the end of the log.
    let ends_later = async || {
        stage.count(&format!("pg_database WHERE pg_snapshot_xmin(pg_current_snapshot()) > '{early}'::xid8")).await > 0
    };
    eventually("the log ends later", async || {
        stage.post(&[Call::default().status("ringing", 0)]).await;
        ends_later().await.then_some(())
    })
    .await;
    let middle = format!("{}.{early}.1", early + 1);
    let sealed = [early.to_string(), middle, u64::MAX.to_string()].map(|cursor| cursors.seal(&cursor).unwrap());
    // The last one is not sealed, as after the replacement of the master key.
    for cursor in sealed.into_iter().chain([early.to_string()]) {
        viewer.cursor = Some(cursor);
        let answer = viewer.resume().await;
        assert_eq!(answer[0]["type"], "reset");
        database::apply(&stage.app, stage.org, &Call::default().status("ringing", 0)).await;
        let before = viewer.frames.len();
        viewer.resume().await;
        assert_eq!(viewer.frames.len(), before + 1);
    }
}

/// D3, D7: the log is read by its index under row-level security, too.
#[tokio::test]
async fn the_log_is_read_by_its_index() {
    let stage = Stage::new().await;
    let client = stage.database.client("ringfence_app").await;
    client.batch_execute("BEGIN; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off").await.unwrap();
    client.execute("SELECT enter_org($1)", &[stage.org.as_uuid()]).await.unwrap();
    let explain = format!(
        "EXPLAIN SELECT seq FROM processed_webhook_events WHERE org_id = '{}' AND (xact, seq) > ('5'::xid8, 7)
            ORDER BY xact, seq LIMIT 10",
        stage.org
    );
    let plan: Vec<String> = client.query(&explain, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("processed_webhook_events_log_idx") && plan.contains("(ROW(xact, seq) > ROW("), "{plan}");
    assert!(!plan.contains("Sort"), "{plan}");
}

/// D3, D7: what an org sees of its log says nothing of the volume of other orgs: between two of its events, the others'
/// events change neither cursor nor position in a way that shows their number.
#[tokio::test]
async fn an_org_cannot_count_the_events_of_others() {
    const OF_OTHERS: u64 = 200;
    let stage = Stage::new().await;
    let other = stage.database.org("Other").await;
    let mut viewer = stage.viewer(stage.org).await;
    let position = |frame: &Value| u64::from_str_radix(frame["seq"].as_str().unwrap(), 16).unwrap();
    for gap in [0, OF_OTHERS] {
        stage.post(&[Call::default().status("ringing", 0)]).await;
        for _ in 0..gap {
            database::apply(&stage.app, other, &Call::default().status("ringing", 0)).await;
        }
    }
    stage.post(&[Call::default().status("ringing", 0)]).await;
    viewer.resume().await;
    let positions: Vec<u64> = viewer.frames.values().map(position).collect();
    let [first, second, third] = positions[..] else { panic!("{positions:?}") };
    // A position is a time: it grows by thousands in a millisecond, whatever the others do.
    assert!(second - first > 10 * OF_OTHERS && third - second > 10 * OF_OTHERS, "{positions:?}");
    let cursor = viewer.cursor.clone().unwrap();
    let end = stage.database.text("SELECT pg_snapshot_xmin(pg_current_snapshot())").await.unwrap();
    assert!(!cursor.contains(&end), "{cursor}");
    viewer.resume().await;
    assert_ne!(viewer.cursor.unwrap(), cursor, "even of the same position");
}
