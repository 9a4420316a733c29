//! Maintenance: removal of old rows, settlement of interrupted work, and reports of problems. B6, B9.

use ringfence_core::maintenance::record_orphan_removal;
use ringfence_harness::testing::{Call, eventually};
use ringfence_protocol::admin::{Replayable, RetainedData, Selection};
use ringfence_protocol::maintenance::Job;
use ringfence_vapi::{FailureCode, OrgId};
use serde_json::json;
use strum::IntoEnumIterator as _;

use crate::reconciliation::{age, give_key};
use crate::recordings::{Stage, wav};
use ringfence_core::console::FailureFilter;

/// B6: events are removed after the retention of their org, and no others. Concurrent runs remove each once, and a dry
/// run changes nothing. A redelivery of a removed event creates no second row.
#[tokio::test]
async fn old_claims_go_and_their_effects_stay() {
    let stage = Stage::new().await;
    let (old, new) = (Call::default(), Call::default());
    let bodies = [old.status("in-progress", 0), old.transcript("Yes.", 5_000), old.status("ended", 60_000)];
    for body in &bodies {
        assert_eq!(stage.webhook().post(stage.org, body).await.status, 200);
    }
    stage.execute("UPDATE processed_webhook_events SET processed_at = now() - interval '31 days', received_at = now() - interval '31 days'").await;
    assert_eq!(stage.webhook().post(stage.org, &new.status("in-progress", 0)).await.status, 200);
    let rows =
        "SELECT string_agg(t::text, ',') FROM (SELECT status, duration_seconds, ended_at FROM call_logs ORDER BY id) t";
    let before = stage.text(rows).await;

    let dry = stage.maintain(Job::CleanClaims, true).await;
    assert_eq!((dry.found, dry.done), (3, 0));
    let (one, two) = tokio::join!(stage.maintain(Job::CleanClaims, false), stage.maintain(Job::CleanClaims, false));
    assert_eq!(one.done + two.done, 3);
    assert_eq!(stage.text("SELECT string_agg(vapi_call_id, ',') FROM processed_webhook_events").await, new.id);
    assert_eq!(stage.maintain(Job::CleanClaims, false).await.done, 0);
    // A viewer whose cursor is before the removed events is reset.
    assert_eq!(stage.text("SELECT (log_start > '0')::text FROM organizations").await, "true");

    for body in &bodies {
        assert_eq!(stage.webhook().post(stage.org, body).await.status, 200);
    }
    assert_eq!(stage.text(rows).await, before, "every effect has a key of its own");
    assert_eq!(stage.database.count("call_transcripts").await, 1);

    // An org may have a longer retention.
    let admin = stage.database.admin().await;
    assert!(admin.set_retention(stage.org, RetainedData::Events, Some(60)).await.unwrap());
    stage.execute("UPDATE processed_webhook_events SET processed_at = now() - interval '31 days'").await;
    assert_eq!(stage.maintain(Job::CleanClaims, false).await.done, 0);
    assert!(
        admin.set_retention(stage.org, RetainedData::Events, Some(14)).await.is_err(),
        "not shorter than Vapi keeps calls"
    );
    assert!(admin.set_retention(stage.org, RetainedData::Events, None).await.is_err());
}

/// B6: one run removes a backlog of many batches, of several orgs.
#[tokio::test]
async fn a_backlog_of_claims_is_removed_in_one_run() {
    let stage = Stage::new().await;
    stage
        .execute(
            "INSERT INTO organizations (id, name) VALUES ('00000000-0000-4000-8000-0000000000b6', 'Second');
            INSERT INTO processed_webhook_events (org_id, event_id, event_type, vapi_call_id, event, received_at, processed_at)
            SELECT o.id, 'hang:' || n, 'hang', n, '{}', now() - interval '31 days', now() - interval '31 days'
            FROM organizations o, generate_series(1, 2500) n",
        )
        .await;
    let report = stage.maintain(Job::CleanClaims, false).await;
    assert_eq!((report.found, report.done, report.more), (5_000, 5_000, false));
    assert_eq!(stage.database.count("processed_webhook_events").await, 0);
}

/// Expired rows are removed, and others are not.
#[tokio::test]
async fn expired_rows_are_deleted() {
    let stage = Stage::new().await;
    // This org's events may be replayed for longer: without a row for the removed recording, a replayed report would
    // request it again.
    let (org, keeping) = (stage.org, stage.database.org("Keeping").await);
    assert!(stage.database.admin().await.set_retention(keeping, RetainedData::Events, Some(200)).await.unwrap());
    stage
        .execute(&format!(
            "INSERT INTO live_connections (connection_id, org_id, expires_at) VALUES
                ('dead', '{org}', now() - interval '2 hours'), ('alive', '{org}', now() + interval '1 hour');
            INSERT INTO partial_gates VALUES ('{org}', 'old', now() - interval '2 days'), ('{org}', 'new', now());
            INSERT INTO recording_upload_queue (org_id, vapi_call_id, state, created_at) VALUES
                ('{org}', 'old', 'removed', now() - interval '91 days'), ('{org}', 'new', 'removed', now()),
                ('{keeping}', 'kept', 'removed', now() - interval '91 days');
            INSERT INTO tool_executions (org_id, execution_id, tool, state, claimed_by, lease_until, result, finished_at)
                SELECT '{org}', 'tool-calls:c:' || age, 'book', 'done', gen_random_uuid(), now(), '{{}}', now() - make_interval(days => age)
                FROM unnest('{{1,31}}'::integer[]) AS age;
            INSERT INTO failed_operations (org_id, event_id, event_type, vapi_call_id, function, state, code, receives, received_at,
                    first_failed_at, last_failed_at, resolved_at)
                SELECT '{org}', 'hang:c:' || age, 'hang', 'c', 'call-started', 'resolved', 'RF2001', 1, now(), now(), now(), now() - make_interval(days => age)
                FROM unnest('{{1,91}}'::integer[]) AS age;
            INSERT INTO failed_operations (org_id, event_id, event_type, vapi_call_id, function, state, code, receives, received_at, event,
                    first_failed_at, last_failed_at)
                SELECT org, 'hang:c:open:' || age, 'hang', 'c', 'call-started', 'dead', 'RF2001', 1, now() - make_interval(days => age), '{{}}', now(), now()
                FROM unnest('{{1,31}}'::integer[]) AS age, unnest('{{{org},{keeping}}}'::uuid[]) AS org;
            INSERT INTO failed_attempts (org_id, event_id, failed_at, function, code)
                SELECT org_id, event_id, now(), 'webhook', 'RF2001' FROM failed_operations;
            INSERT INTO call_routes (vapi_call_id, org_id, created_at) VALUES ('old', '{org}', now() - interval '91 days'), ('new', '{org}', now());
            INSERT INTO admin_operations (id, kind, actor, parameters, state, lease_holder, lease_until, created_at, finished_at)
                SELECT gen_random_uuid(), 'replay', 'ada', '{{}}', state, gen_random_uuid(), now(), now() - interval '92 days', finished_at
                FROM (VALUES ('done', now() - interval '91 days'), ('failed', now()), ('running', NULL)) AS o (state, finished_at);
            INSERT INTO unresolved_events (event_id, vapi_call_id, code, event, received_at, created_at)
                SELECT 'e' || age, 'c', 'RF5001', '{{}}', now(), now() - make_interval(days => age) FROM unnest('{{91,1}}'::integer[]) AS age"
        ))
        .await;
    let dry = stage.maintain(Job::CleanRows, true).await;
    assert_eq!((dry.found, dry.done), (9, 0));
    let (one, two) = tokio::join!(stage.maintain(Job::CleanRows, false), stage.maintain(Job::CleanRows, false));
    assert_eq!(one.done + two.done, 9);
    for (table, left) in [
        ("live_connections WHERE connection_id = 'alive'", 1),
        ("live_connections", 1),
        ("partial_gates", 1),
        ("recording_upload_queue WHERE vapi_call_id IN ('new', 'kept')", 2),
        ("recording_upload_queue", 2),
        ("tool_executions", 1),
        ("failed_operations WHERE state = 'resolved'", 1),
        ("failed_operations WHERE state = 'dead' AND code = 'RF2001'", 4),
        ("failed_operations WHERE state = 'dead' AND event IS NOT NULL", 3),
        ("failed_attempts", 5),
        ("call_routes WHERE vapi_call_id = 'new'", 1),
        ("call_routes", 1),
        ("admin_operations WHERE state = 'done'", 0),
        ("admin_operations", 2),
        ("unresolved_events WHERE event_id = 'e1'", 1),
        ("unresolved_events", 1),
    ] {
        assert_eq!(stage.database.count(table).await, left, "{table}");
    }
}

/// B6: after the org's retention, the event of an open failure is removed. Its code and times stay. It can be neither
/// redriven nor replayed, and the console and the command say so.
#[tokio::test]
async fn the_event_of_an_open_failure_is_removed_after_its_retention() {
    let stage = Stage::new().await;
    let org = stage.org;
    stage
        .execute(&format!(
            "INSERT INTO failed_operations (org_id, event_id, event_type, vapi_call_id, function, state, code, receives, received_at, event,
                    first_failed_at, last_failed_at)
                VALUES ('{org}', 'hang:c:1', 'hang', 'c', 'call-started', 'dead', 'RF2001', 1, now() - interval '31 days',
                    '{{\"summary\": \"Grace\"}}', now() - interval '31 days', now() - interval '31 days')"
        ))
        .await;
    assert_eq!(stage.maintain(Job::CleanRows, false).await.done, 1);
    assert_eq!(stage.database.count("failed_operations WHERE event IS NULL AND first_failed_at IS NOT NULL").await, 1);

    let (admin, selection) = (stage.database.admin().await, Selection::default());
    let listed = admin.failed_operations(&selection, false, 10).await.unwrap();
    assert_eq!(
        listed.iter().map(|failed| (failed.is_event_removed, &*failed.code)).collect::<Vec<_>>(),
        [(true, "RF2001")]
    );
    assert_eq!(admin.count_replayable(Replayable::Failed, &selection).await.unwrap(), 0);
    assert_eq!(admin.replay(Replayable::Failed, None, &selection, None, 10).await.unwrap().seen, 0);
    let app = stage.database.app();
    let replayed = stage.text(&format!("SELECT replay_failed_operation_v1('{org}', 'hang:c:1')::text")).await;
    assert_eq!(replayed, "false");
    let shown = ringfence_core::console::failure(&app, org, "hang:c:1").await.unwrap().unwrap();
    assert_eq!((shown.event, shown.failure["code"].as_str()), (None, Some("RF2001")));
    let listed = ringfence_core::console::failures(&app, org, &FailureFilter::default(), None, 10).await.unwrap();
    assert_eq!((listed.selected, listed.dead, listed.failures[0].is_event_removed), (1, 0, true));
}

/// A tool call whose function died becomes a failed operation, even if Vapi does not deliver it again. A running tool
/// call is not changed.
#[tokio::test]
async fn a_tool_call_of_a_dead_function_is_settled() {
    let stage = Stage::new().await;
    let org = stage.org;
    stage
        .execute(&format!(
            "INSERT INTO tool_executions (org_id, execution_id, tool, vapi_call_id, claimed_by, lease_until) VALUES
                ('{org}', 'tool-calls:c1:dead', 'book', 'c1', gen_random_uuid(), now() - interval '2 minutes'),
                ('{org}', 'tool-calls:c1:alive', 'book', 'c1', gen_random_uuid(), now() + interval '10 seconds')"
        ))
        .await;
    assert_eq!(stage.maintain(Job::ExpireLeases, true).await.found, 1);
    let (one, two) = tokio::join!(stage.maintain(Job::ExpireLeases, false), stage.maintain(Job::ExpireLeases, false));
    assert_eq!(one.done + two.done, 1);
    let failed =
        "SELECT string_agg(event_id || ' ' || state || ' ' || code || ' ' || vapi_call_id, ',') FROM failed_operations";
    assert_eq!(stage.text(failed).await, "tool-calls:c1:dead dead RF7008 c1");
    assert_eq!(
        stage.text("SELECT string_agg(execution_id, ',') FROM tool_executions WHERE state = 'running'").await,
        "tool-calls:c1:alive"
    );
}

/// The texts of calls are removed from rows and events after the retention of the org, and a replay does not restore
/// them.
#[tokio::test]
async fn transcripts_are_deleted_after_their_retention() {
    let stage = Stage::new().await;
    let mut calls = Vec::new();
    for _ in 0..2 {
        let call = Call::default();
        let report = call.report(
            60_000,
            json!({"artifact": {"transcript": "AI: Hello, Grace.", "messages": [{"role": "bot", "message": "Hello, Grace."}]},
                "analysis": {"summary": "Grace called."}}),
        );
        for body in [call.status("in-progress", 0), call.transcript("Hello, Grace.", 5_000), report] {
            assert_eq!(stage.webhook().post(stage.org, &body).await.status, 200);
        }
        calls.push(call);
    }
    let old = &calls[0].id;
    // Ids contain the time of a call's first event.
    stage
        .execute(&format!(
            "SET session_replication_role = replica;
            UPDATE calls SET id = time_floor_uuid(now() - interval '8 days') WHERE vapi_call_id = '{old}';
            UPDATE call_transcripts SET call_log_id = time_floor_uuid(now() - interval '8 days') WHERE vapi_call_id = '{old}';
            UPDATE call_logs SET id = time_floor_uuid(now() - interval '8 days') WHERE vapi_call_id = '{old}';
            SET session_replication_role = origin"
        ))
        .await;
    assert_eq!(stage.maintain(Job::ExpireTranscripts, false).await.done, 0, "without a retention it is kept");
    let admin = stage.database.admin().await;
    assert!(admin.set_retention(stage.org, RetainedData::Transcripts, Some(7)).await.unwrap());
    assert_eq!(stage.maintain(Job::ExpireTranscripts, true).await.found, 1);
    assert_eq!(stage.database.count("call_logs WHERE transcript IS NULL").await, 0);
    let (one, two) =
        tokio::join!(stage.maintain(Job::ExpireTranscripts, false), stage.maintain(Job::ExpireTranscripts, false));
    assert_eq!(one.done + two.done, 1);
    assert_eq!(stage.maintain(Job::ExpireTranscripts, false).await.done, 0);

    let selection = ringfence_protocol::admin::Selection::default();
    admin.replay(ringfence_protocol::admin::Replayable::Applied, None, &selection, None, 100).await.unwrap();
    let said = |call: &str| {
        format!(
            "(SELECT transcript || summary AS t FROM call_logs WHERE vapi_call_id = '{call}' UNION ALL SELECT text FROM call_transcripts WHERE vapi_call_id = '{call}'
            UNION ALL SELECT event::text FROM processed_webhook_events WHERE vapi_call_id = '{call}') AS s WHERE s.t LIKE '%Grace%'"
        )
    };
    assert_eq!(stage.database.count(&said(old)).await, 0);
    assert_eq!(stage.database.count(&said(&calls[1].id)).await, 4);
}

/// Creates one of each reported problem, and an org that receives no more events.
pub(crate) async fn go_wrong(stage: &Stage) -> OrgId {
    let (org, quiet) = (stage.org, stage.database.org("Quiet").await);
    stage
        .execute(&format!(
            "INSERT INTO unresolved_events (event_id, vapi_call_id, code, event, received_at) VALUES ('e', 'c', 'RF5001', '{{}}', now());
            INSERT INTO failed_operations (org_id, event_id, event_type, vapi_call_id, function, state, code, receives, received_at, event,
                    first_failed_at, last_failed_at)
                VALUES ('{org}', 'hang:c:1', 'hang', 'c', 'call-started', 'retrying', 'RF1001', 1, now() - interval '2 hours', '{{}}', now(), now());
            INSERT INTO recording_upload_queue (org_id, vapi_call_id, link, link_expires_at) VALUES
                ('{org}', 'dying', 'x', now() + interval '5 minutes'), ('{org}', 'well', 'x', now() + interval '25 minutes');
            INSERT INTO call_rollups (org_id, agent_id, period, measure, since, is_connected, bucket, calls)
                SELECT o, '00000000-0000-0000-0000-000000000000', p, 'family', date_trunc(p, now() - make_interval(days => d), 'UTC'), true, 'open', 1
                FROM unnest(ARRAY['{org}', '{quiet}']::uuid[]) AS o, unnest('{{hour,day}}'::text[]) AS p, generate_series(0, 6) AS d
                WHERE o <> '{quiet}' OR d > 1"
        ))
        .await;
    quiet
}

/// The problems of the alarms are reported: unresolved events, failures, expiring links, and orgs that receive no more
/// events. The depth of each queue is stored for the console.
#[tokio::test]
async fn problems_are_reported() {
    let stage = Stage::new().await;
    let nothing = ringfence_core::maintenance::watch(&stage.database.app(), &[]).await.unwrap();
    assert_eq!(nothing, ringfence_core::maintenance::Gauges::default());
    let quiet = go_wrong(&stage).await;
    let watched = ringfence_core::maintenance::watch(&stage.database.app(), &[]).await.unwrap();
    assert_eq!((watched.unresolved_events, watched.recording_links_expiring), (1, 1));
    assert!((7200..7300).contains(&watched.oldest_retry_seconds), "{watched:?}");
    assert_eq!(watched.silent_orgs, [quiet]);

    stage.queues.put(ringfence_vapi::Function::Transcript, "something").await;
    let report = stage.maintain(Job::Watch, false).await;
    assert_eq!((report.found, report.done), (12, 12));
    assert_eq!(stage.text("SELECT waiting::text FROM queue_states WHERE queue = 'transcript'").await, "1");
    assert_eq!(stage.database.count("queue_states").await, 12);
}

/// Each job can be run by the name in the template's schedule, at the interval of `Job::interval`.
#[test]
fn the_template_orders_each_job() {
    let template = std::fs::read_to_string(format!("{}/../template.yaml", env!("CARGO_MANIFEST_DIR"))).unwrap();
    for job in Job::iter() {
        let order = format!(r#"{{"job": "{job}"}}"#);
        let (before, _) = template.split_once(&order).unwrap_or_else(|| panic!("nobody orders {order}"));
        let expression = before.rsplit_once("ScheduleExpression: ").and_then(|(_, after)| after.lines().next());
        let expected = match job.interval().as_secs() / 60 {
            60 => "rate(1 hour)".to_owned(),
            1 => "rate(1 minute)".to_owned(),
            minutes => format!("rate({minutes} minutes)"),
        };
        assert_eq!(expression, Some(expected.as_str()), "{job}");
    }
}

/// D8, D11: the recording of an erased call is removed from the bucket, and once more after a day.
#[tokio::test]
async fn objects_of_erased_calls_are_deleted_twice() {
    let (stage, call) = (Stage::new().await, Call::default());
    assert_eq!(stage.record(&call, &wav(1000)).await, 0);
    stage.database.admin().await.erase_call(stage.org, &call.id, true).await.unwrap();
    assert_eq!(stage.maintain(Job::ExpireRecordings, true).await.found, 1);
    assert_eq!(stage.queues.stored().await.len(), 1);
    assert_eq!(stage.maintain(Job::ExpireRecordings, false).await.done, 1);
    assert_eq!(stage.queues.stored().await, Vec::<String>::new());
    assert_eq!(stage.maintain(Job::ExpireRecordings, false).await.done, 0);
    // The second deletion is a day after the first one, whenever the call was erased.
    stage.execute("UPDATE orphaned_objects SET created_at = now() - interval '25 hours'").await;
    assert_eq!(stage.maintain(Job::ExpireRecordings, false).await.done, 0);
    stage.execute("UPDATE orphaned_objects SET first_deleted_at = now() - interval '25 hours'").await;
    assert_eq!(stage.maintain(Job::ExpireRecordings, false).await.done, 1);
    assert_eq!(stage.database.count("orphaned_objects").await, 0);
}

/// E8: two runs that overlap delete the object of an erased call once. Only the run a day later deletes it again and
/// removes the row.
#[tokio::test]
async fn overlapping_runs_are_one_deletion() {
    let stage = Stage::new().await;
    let (app, key) = (stage.database.app(), format!("{}/call/mono", stage.org));
    let insert = format!("INSERT INTO orphaned_objects (org_id, storage_key) VALUES ('{}', '{key}')", stage.org);
    stage.execute(&insert).await;
    let record = async || record_orphan_removal(&app, stage.org, &key).await.unwrap();
    assert_eq!((record().await, record().await), (true, false));
    assert_eq!(stage.database.count("orphaned_objects").await, 1);
    stage.execute("UPDATE orphaned_objects SET first_deleted_at = now() - interval '25 hours'").await;
    assert_eq!((record().await, record().await), (true, false));
    assert_eq!(stage.database.count("orphaned_objects").await, 0);
}

/// Makes changes of a table fail for the rows that a condition on `row` selects.
async fn refuse(stage: &Stage, table: &str, operation: &str, condition: &str) {
    let row = if operation == "DELETE" { "OLD" } else { "NEW" };
    stage
        .execute(&format!(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION 'refused'; END $$;
            CREATE OR REPLACE TRIGGER refuse BEFORE {operation} ON {table} FOR EACH ROW
                WHEN ({}) EXECUTE FUNCTION refuse()",
            condition.replace("row.", &format!("{row}."))
        ))
        .await;
}

/// Runs a job, which must fail because of the refused rows.
async fn fails(stage: &Stage, job: Job) {
    let code = stage.try_maintain(job, false).await.expect_err("the job reports the failure").code;
    assert_eq!(code, FailureCode::StatementRefused, "{job}");
}

/// E8: an org whose rows cannot be changed stops no job for the other orgs, and each job reports the failure.
#[tokio::test]
async fn an_org_that_fails_stops_no_other() {
    let stage = Stage::new().await;
    let (bad, good) = (stage.org, stage.database.org("Good").await);
    let admin = stage.database.admin().await;
    for org in [bad, good] {
        give_key(&stage, org).await;
        let call = Call::default();
        for body in [call.status("in-progress", 0), call.transcript("Hello, Grace.", 5_000)] {
            assert_eq!(stage.webhook().post(org, &body).await.status, 200);
        }
        age(&stage, &call, "8 days").await;
        assert!(admin.set_retention(org, RetainedData::Transcripts, Some(7)).await.unwrap());
        stage
            .execute(&format!(
                "INSERT INTO tool_executions (org_id, execution_id, tool, vapi_call_id, claimed_by, lease_until)
                    VALUES ('{org}', 'tool-calls:c1:t', 'book', 'c1', gen_random_uuid(), now() - interval '2 minutes')"
            ))
            .await;
    }
    let of_bad = format!("row.org_id = '{bad}'");
    let left =
        async |rows: &str| stage.text(&format!("SELECT string_agg(DISTINCT org_id::text, ',') FROM {rows}")).await;

    refuse(&stage, "rollup_cursors", "UPDATE", &of_bad).await;
    // Events are counted after all transactions that were open beside them.
    eventually("the other org is counted", async || {
        fails(&stage, Job::RollUp).await;
        (left("call_rollups").await == good.to_string()).then_some(())
    })
    .await;

    refuse(&stage, "reconciliations", "INSERT", &of_bad).await;
    fails(&stage, Job::Reconcile).await;
    assert_eq!(left("reconciliations").await, good.to_string());
    stage.execute("DROP TRIGGER refuse ON reconciliations").await;
    stage.maintain(Job::Reconcile, false).await;
    // Both calls are known now. The result of one cannot be recorded.
    stage
        .execute("UPDATE reconciliations SET state = 'open', code = NULL, finished_at = NULL, next_attempt_at = now() - interval '1 second'")
        .await;
    refuse(&stage, "reconciliations", "UPDATE", &format!("{of_bad} AND row.code IS NOT NULL")).await;
    fails(&stage, Job::Reconcile).await;
    assert_eq!(left("reconciliations WHERE code IS NOT NULL").await, good.to_string());

    refuse(&stage, "call_transcripts", "DELETE", &of_bad).await;
    fails(&stage, Job::ExpireTranscripts).await;
    assert_eq!(left("call_transcripts").await, bad.to_string());

    refuse(&stage, "tool_executions", "UPDATE", &of_bad).await;
    fails(&stage, Job::ExpireLeases).await;
    assert_eq!(left("tool_executions WHERE state = 'running'").await, bad.to_string());
    assert_eq!(left("failed_operations").await, good.to_string());

    stage.execute("UPDATE processed_webhook_events SET processed_at = now() - interval '31 days'").await;
    refuse(&stage, "processed_webhook_events", "DELETE", &of_bad).await;
    fails(&stage, Job::CleanClaims).await;
    assert_eq!(left("processed_webhook_events").await, bad.to_string());
}

/// E8: rows that cannot be deleted stop no other kind of rows, and the job reports the failure.
#[tokio::test]
async fn a_kind_of_rows_that_fails_stops_no_other() {
    let stage = Stage::new().await;
    let org = stage.org;
    stage
        .execute(&format!(
            "INSERT INTO live_connections (connection_id, org_id, expires_at) VALUES ('dead', '{org}', now() - interval '2 hours');
            INSERT INTO partial_gates VALUES ('{org}', 'old', now() - interval '2 days')"
        ))
        .await;
    refuse(&stage, "live_connections", "DELETE", "true").await;
    fails(&stage, Job::CleanRows).await;
    assert_eq!(stage.database.count("live_connections").await, 1);
    assert_eq!(stage.database.count("partial_gates").await, 0);
}

/// E8: an object of an erased call that cannot be deleted, and one whose deletion cannot be recorded, stop no other, even
/// if they come first.
#[tokio::test]
async fn an_object_that_fails_stops_no_other() {
    let stage = Stage::new().await;
    stage
        .execute(&format!(
            "INSERT INTO orphaned_objects (org_id, storage_key, created_at) VALUES
                ('{0}', '{0}/refused/mono', now() - interval '2 days'), ('{0}', '{0}/call/mono', now())",
            stage.org
        ))
        .await;
    refuse(&stage, "orphaned_objects", "UPDATE", "row.storage_key LIKE '%/refused/mono'").await;
    assert!(stage.try_maintain(Job::ExpireRecordings, false).await.is_err());
    let deleted = "SELECT string_agg(storage_key, ',') FROM orphaned_objects WHERE first_deleted_at IS NOT NULL";
    assert_eq!(stage.text(deleted).await, format!("{}/call/mono", stage.org));
}
