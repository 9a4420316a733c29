//! Hourly numbers: the console shows the counts of the rows. E2: percentiles are exact, and unknown values are left out.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use ringfence_core::maintenance::find_orgs_with_work;
use ringfence_core::numbers::{self, By, Numbers, Spread};
use ringfence_harness::testing::{Call, TestDatabase, eventually};
use ringfence_protocol::maintenance::Job;
use ringfence_vapi::{AgentId, OrgId};
use serde_json::json;

/// Counts until `expected` events are counted. An event is counted only after all transactions that were open beside
/// it, including those of other tests on the server.
async fn roll_up(database: &TestDatabase, expected: u64) {
    let app = database.app();
    let mut events = 0;
    eventually("all events are counted", async || {
        for org in find_orgs_with_work(&app, Job::RollUp, 100).await.unwrap() {
            events += numbers::roll_up(&app, org, 3).await.unwrap();
        }
        (events >= expected).then_some(())
    })
    .await;
    assert_eq!(events, expected);
    assert_eq!(find_orgs_with_work(&app, Job::RollUp, 100).await.unwrap(), [], "nothing is left to count");
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
    assert_eq!((duration.p50, duration.p90, duration.p99), (100.0, 100.0, 100.0));
    assert_eq!((cost.p50, cost.p90, cost.p99, cost.total), (0.1, 2.0, 2.0, Some(2.3)));
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

/// The value of rank `percent` (nearest rank) in sorted values.
fn nearest_rank(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

fn percentiles(spread: &Spread) -> [f64; 3] {
    [spread.p50, spread.p90, spread.p99]
}

/// E2: the percentiles of 1, 2, 999 and 1000 calls are those of a sorted list of their durations and costs, to the last
/// digit; those of 1001 differ by at most 2 %. Calls whose duration and cost are unknown, such as open ones, are left out.
#[tokio::test]
async fn percentiles_are_exact_up_to_1000_values() {
    let database = TestDatabase::new().await;
    let client = database.superuser().await;
    for count in [1_i32, 2, 999, 1_000, 1_001] {
        let org = database.org("Acme").await;
        // Spread over two hours. Each tenth call is open, and every second one was answered.
        let insert = "INSERT INTO call_logs (org_id, id, vapi_call_id, status, duration_seconds, cost, started_at)
            SELECT $1::uuid, time_floor_uuid(now() - make_interval(hours => n % 2, secs => n)), n::text, 'completed', (n * n) % 7919, n * 0.00123,
                CASE n % 2 WHEN 0 THEN now() END FROM generate_series(1, $2) AS n
            UNION ALL SELECT $1::uuid, time_floor_uuid(now() - make_interval(hours => n % 2, secs => n + 0.5)), 'open ' || n, 'in-progress', NULL, NULL, now()
            FROM generate_series(1, $2 / 10 + 1) AS n";
        client.execute(insert, &[org.as_uuid(), &count]).await.unwrap();
        let rebuild =
            "SELECT rebuild_call_rollups($1, ARRAY(SELECT DISTINCT uuid_hour(id) FROM call_logs WHERE org_id = $1))";
        client.execute(rebuild, &[org.as_uuid()]).await.unwrap();

        let mut durations: Vec<f64> = (1..=count).map(|n| f64::from(n * n % 7919)).collect();
        durations.sort_by(f64::total_cmp);
        let costs: Vec<f64> = (1..=count).map(|n| format!("{:.5}", f64::from(n) * 0.00123).parse().unwrap()).collect();
        let now = Timestamp::now();
        for by in [By::Hour, By::Day] {
            let shown =
                numbers::show(&database.app(), org, None, now - SignedDuration::from_hours(30), now, by).await.unwrap();
            for (spreads, sorted) in [(&shown.durations, &durations), (&shown.costs, &costs)] {
                let all = spreads.all.as_ref().unwrap();
                assert_eq!(all.calls, i64::from(count), "{count} {by:?}");
                for (found, percent) in percentiles(all).into_iter().zip([50, 90, 99]) {
                    let exact = nearest_rank(sorted, percent);
                    let allowed = if count <= 1_000 { 0.0 } else { exact * 0.02 };
                    assert!((found - exact).abs() <= allowed, "p{percent} of {count} {by:?}: {found}, not {exact}");
                }
                let connected = spreads.connected.as_ref().map_or(0, |spread| spread.calls);
                assert_eq!(connected, i64::from(count / 2), "{count} {by:?}");
            }
        }
    }
}

/// E2: a latency that is unknown is not counted. Latencies are exact until an hour has more than 1000 values, however
/// many runs count them.
#[tokio::test]
async fn latencies_are_exact_up_to_1000_events() {
    let database = TestDatabase::new().await;
    let (org, client, app) = (database.org("Acme").await, database.superuser().await, database.app());
    // Latencies of 1, 2, 3 ms and so on; every third event has no time of its own.
    let insert = "INSERT INTO processed_webhook_events (org_id, event_id, event_type, vapi_call_id, message_time, event, received_at)
        SELECT $1, 'hang:c:' || n, 'hang', 'c', CASE WHEN n % 3 > 0 THEN date_trunc('hour', now()) - n * interval '1 ms' END, '{}',
            date_trunc('hour', now()) FROM generate_series($2::integer, $3::integer) AS n";
    let mut counted = 0;
    for (from, until) in [(1, 3), (4, 1_498), (1_499, 1_503)] {
        client.execute(insert, &[org.as_uuid(), &from, &until]).await.unwrap();
        while counted < until {
            counted += i32::try_from(numbers::roll_up(&app, org, 400).await.unwrap()).unwrap();
            tokio::task::yield_now().await;
        }
        let sorted: Vec<f64> = (1..=until).filter(|n| n % 3 > 0).map(f64::from).collect();
        let spread = shown(&database, org, None).await.latencies.delivery_ms.unwrap();
        assert_eq!(spread.calls, i64::try_from(sorted.len()).unwrap());
        for (found, percent) in percentiles(&spread).into_iter().zip([50, 90, 99]) {
            let exact = nearest_rank(&sorted, percent);
            let allowed = if sorted.len() <= 1_000 { 0.0 } else { exact * 0.02 };
            assert!((found - exact).abs() <= allowed, "p{percent} of {}: {found}, not {exact}", sorted.len());
        }
        let kept = database.count("event_rollups WHERE measure = 'delivery_ms' AND exact IS NOT NULL").await;
        assert_eq!(kept > 0, sorted.len() <= 1_000, "{kept}");
    }
}

/// E2: above 1000 values, a percentile differs by at most 2 % and lies between the lowest and the highest value.
#[test]
fn percentiles_of_many_values_are_within_two_percent() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_database, client) = runtime.block_on(async {
        let database = TestDatabase::new().await;
        let client = database.superuser().await;
        (database, client)
    });
    let statement = "SELECT rollup_percentiles(ARRAY(
        SELECT ROW(rollup_bucket(v::numeric)::integer, count(*), min(v::numeric), max(v::numeric), NULL)::rollup_part
        FROM unnest($1::float8[]) AS v GROUP BY rollup_bucket(v::numeric)))";
    // From microseconds to days; few distinct values, or many; zeros among them.
    let value =
        prop_oneof![Just(0.0), (0..20_u32).prop_map(f64::from), (-6.0..6.0_f64).prop_map(|power| 10_f64.powf(power))];
    let values = proptest::collection::vec(value, 1_001..3_000);
    let mut runner = TestRunner::new(Config { cases: 64, ..Config::default() });
    runner
        .run(&values, |mut values| {
            let row = runtime.block_on(client.query_one(statement, &[&values])).unwrap();
            let found: serde_json::Value = row.get(0);
            values.sort_by(f64::total_cmp);
            for percent in [50, 90, 99] {
                let (exact, found) = (nearest_rank(&values, percent), found[format!("p{percent}")].as_f64().unwrap());
                prop_assert!((found - exact).abs() <= exact * 0.02, "p{percent}: {found}, not {exact}");
                prop_assert!(values[0] <= found && found <= values[values.len() - 1]);
            }
            Ok(())
        })
        .unwrap();
}

/// E2: a call that has not ended, and one whose report has no times, has no duration, in no row and no rollup.
#[tokio::test]
async fn an_unknown_duration_is_not_zero() {
    let database = TestDatabase::new().await;
    let org = database.org("Acme").await;
    let (open, ended) = (Call::default(), Call::default());
    let report = json!({"durationSeconds": null, "startedAt": null, "endedAt": null, "cost": null});
    database.apply(org, &[open.status("in-progress", 0), ended.report(60_000, report)]).await;
    for table in ["call_logs", "call_tracking", "calls"] {
        assert_eq!(database.count(&format!("{table} WHERE duration_seconds IS NULL")).await, 2, "{table}");
    }
    roll_up(&database, 2).await;
    let shown = shown(&database, org, None).await;
    assert_eq!(shown.hours.iter().map(|hour| hour.calls).sum::<i64>(), 2);
    assert_eq!((shown.durations.all, shown.durations.connected, shown.costs.all), (None, None, None));
}
