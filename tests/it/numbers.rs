//! Hourly numbers: the console shows the counts of the rows.

use jiff::{SignedDuration, Timestamp};
use ringfence_core::numbers::{self, By, Numbers};
use ringfence_harness::testing::{Call, TestDatabase, eventually};
use ringfence_vapi::{AgentId, OrgId};
use serde_json::json;

/// Counts until `expected` events are counted. An event is counted only after all transactions that were open beside
/// it, including those of other tests on the server.
async fn roll_up(database: &TestDatabase, expected: u64) {
    let app = database.app();
    let mut events = 0;
    eventually("all events are counted", async || {
        for org in numbers::find_orgs(&app, 100).await.unwrap() {
            events += numbers::roll_up(&app, org, 3).await.unwrap();
        }
        (events >= expected).then_some(())
    })
    .await;
    assert_eq!(events, expected);
    assert_eq!(numbers::find_orgs(&app, 100).await.unwrap(), [], "nothing is left to count");
}

async fn shown(database: &TestDatabase, org: OrgId, agent: Option<AgentId>) -> Numbers {
    let now = Timestamp::now();
    numbers::show(&database.app(), org, agent, now - SignedDuration::from_hours(23), now, By::Hour).await.unwrap()
}

/// Calls are counted once, however often they change, with their last known values. Calls of other orgs are not
/// included.
#[tokio::test]
async fn numbers_equal_the_rows() {
    let database = TestDatabase::new().await;
    let (org, other) = (database.org("Acme").await, database.org("Other").await);
    let agent = database.agent(org, "assistant-1").await;
    let answered: Vec<Call> = (0..4).map(|_| Call::default()).collect();
    for (index, call) in answered.iter().enumerate() {
        let mut body = call.status("in-progress", 0);
        if index == 0 {
            body["message"]["call"]["assistantId"] = json!("assistant-1");
        }
        database.apply(org, &[body]).await;
    }
    let missed = Call::default();
    database.apply(org, &[missed.status("queued", 0)]).await;
    database.apply(other, &[Call::default().status("in-progress", 0)]).await;
    roll_up(&database, 6).await;
    let families = |shown: &Numbers| -> Vec<(String, i64, i64)> {
        shown.families.iter().map(|family| (family.family.clone(), family.calls, family.connected)).collect()
    };
    assert_eq!(families(&shown(&database, org, None).await), [("open".to_owned(), 5, 4)]);

    for (call, cost) in answered.iter().zip([0.1, 0.1, 0.1, 2.0]) {
        let report = call.report(
            60_000,
            json!({"cost": cost, "durationSeconds": 100, "endedReason": "customer-ended-call",
            "startedAt": "2026-11-20T10:00:00Z", "endedAt": "2026-11-20T10:01:40Z"}),
        );
        database.apply(org, &[report.clone(), report]).await;
    }
    let failed = missed.report(
        60_000,
        json!({"endedReason": "customer-did-not-answer", "durationSeconds": null, "startedAt": null, "endedAt": null, "cost": 0}),
    );
    database.apply(org, &[failed]).await;
    // Duplicates add nothing to count.
    roll_up(&database, 5).await;

    let shown_now = shown(&database, org, None).await;
    let rows = "SELECT string_agg(outcome || ' ' || n, ',' ORDER BY n DESC) FROM (SELECT outcome, count(*) AS n FROM call_logs WHERE org_id = '";
    let rows = database.text(&format!("{rows}{org}' GROUP BY outcome) AS t")).await.unwrap();
    let counted: Vec<String> =
        shown_now.families.iter().map(|family| format!("{} {}", family.family, family.calls)).collect();
    assert_eq!(counted.join(","), rows);
    assert_eq!(shown_now.families[0].connected, 4);
    assert_eq!(shown_now.hours.len(), 24);
    assert_eq!(shown_now.hours.iter().map(|hour| (hour.calls, hour.connected)).max(), Some((5, 4)));
    let (duration, cost) = (shown_now.durations.connected.unwrap(), shown_now.costs.connected.unwrap());
    assert_eq!((duration.calls, duration.total), (4, Some(400.0)));
    assert!((90.0..=110.0).contains(&duration.p50) && (90.0..=110.0).contains(&duration.p99), "{duration:?}");
    assert!((cost.total.unwrap() - 2.3).abs() < 1e-9, "{cost:?}");
    assert!((0.09..=0.11).contains(&cost.p50) && (1.8..=2.2).contains(&cost.p99), "{cost:?}");
    assert_eq!(shown_now.latencies.apply_ms.as_ref().map(|spread| spread.calls), Some(10));
    assert_eq!(shown_now.types.iter().map(|named| named.events).sum::<i64>(), 10);
    // The same numbers, per day.
    let now = Timestamp::now();
    let by_day =
        numbers::show(&database.app(), org, None, now - SignedDuration::from_hours(24), now, By::Day).await.unwrap();
    assert_eq!((&by_day.families, &by_day.types), (&shown_now.families, &shown_now.types));
    assert_eq!(by_day.durations.connected.as_ref(), Some(&duration));
    // The same numbers, per agent.
    assert_eq!(shown_now.agents.iter().map(|row| (row.id, row.calls)).collect::<Vec<_>>(), [(agent, Some(1))]);
    assert_eq!(shown(&database, org, Some(agent)).await.hours.iter().map(|hour| hour.calls).sum::<i64>(), 1);
    assert_eq!(shown(&database, other, None).await.families.iter().map(|family| family.calls).sum::<i64>(), 1);
    assert_eq!(shown(&database, other, Some(agent)).await.families, []);
}

/// Two concurrent runs count an event once. An event whose transaction is open during a run is counted by the next one.
#[tokio::test]
async fn nothing_is_counted_twice_or_passed_over() {
    let database = TestDatabase::new().await;
    let org = database.org("Acme").await;
    let app = database.app();
    // A transaction that began before the others and is still open.
    let mut slow = database.superuser().await;
    let open = slow.transaction().await.unwrap();
    let insert = "INSERT INTO processed_webhook_events (org_id, event_id, event_type, vapi_call_id, event, received_at)
        VALUES ($1, 'hang:slow:1', 'hang', 'slow', '{}', now())";
    open.execute(insert, &[org.as_uuid()]).await.unwrap();
    for _ in 0..20 {
        database.apply(org, &[Call::default().status("in-progress", 0)]).await;
    }
    let both = tokio::join!(numbers::roll_up(&app, org, 100), numbers::roll_up(&app, org, 100));
    assert_eq!(both.0.unwrap() + both.1.unwrap(), 0, "what is written beside the open transaction waits for it");
    open.commit().await.unwrap();
    let other = database.app();
    let mut counted = 0;
    eventually("all events are counted", async || {
        let both = tokio::join!(numbers::roll_up(&app, org, 4), numbers::roll_up(&other, org, 4));
        counted += both.0.unwrap() + both.1.unwrap();
        (counted >= 21).then_some(())
    })
    .await;
    assert_eq!(counted, 21);
    let types = shown(&database, org, None).await.types;
    assert_eq!(
        types.iter().map(|named| (named.name.as_str(), named.events)).collect::<Vec<_>>(),
        [("status-update", 20), ("hang", 1)]
    );
}
