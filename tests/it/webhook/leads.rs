//! The lead of a call: it is found by its number, and becomes contacted when a call that is not a test ends.

use ringfence_harness::testing::Call;
use ringfence_harness::testing::database::TestDatabase;
use serde_json::json;

use super::open;

const PHONE: &str = "+15555550142";
/// State of a lead after the end of `Call::report`'s call.
const CONTACTED: &str = "contacted 2026-09-14 15:02:32.78";

async fn lead(database: &TestDatabase) -> String {
    let query = "SELECT concat_ws(' ', status, last_contacted_at AT TIME ZONE 'UTC') FROM leads";
    database.text(query).await.unwrap()
}

/// D12, A8 (with a lead): the caller's number links the lead of the org, in any of Vapi's formats.
#[tokio::test]
async fn the_callers_number_links_the_lead() {
    let (database, webhook, org) = open().await;
    let id = database.lead(org, PHONE).await;
    for written in [PHONE, "+1 (555) 555-0142", "+1.555.555.0142"] {
        let call = Call { customer: Some(written.to_owned()), ..Call::default() };
        assert_eq!(webhook.post(org, &call.status("ringing", 0)).await.status, 200);
        for table in ["call_logs", "call_tracking"] {
            let linked = format!("{table} WHERE vapi_call_id = '{}' AND lead_id = '{id}'", call.id);
            assert_eq!(database.count(&linked).await, 1, "{written} in {table}");
        }
    }
    assert_eq!(lead(&database).await, "new", "nothing has ended yet");
}

/// A8 (without a lead): a call is stored, too, if the caller is not a lead or has no number.
#[tokio::test]
async fn a_caller_who_is_no_lead_is_no_problem() {
    let (database, webhook, org) = open().await;
    database.lead(org, PHONE).await;
    for customer in [Some("+15555550199"), Some("sip:dana@example.com"), None] {
        let call = Call { customer: customer.map(str::to_owned), ..Call::default() };
        assert_eq!(webhook.post(org, &call.report(60_000, json!({}))).await.status, 200);
    }
    assert_eq!(database.count("call_logs WHERE status = 'completed' AND lead_id IS NULL").await, 3);
    assert_eq!(lead(&database).await, "new");
}

/// D2: the first event that reports the end of a call, update or report, makes its lead contacted at that time.
#[tokio::test]
async fn a_real_call_that_ends_makes_its_lead_contacted() {
    for report_first in [true, false] {
        let (database, webhook, org) = open().await;
        database.lead(org, PHONE).await;
        let call = Call::default();
        // The update of the end was sent at 15:02:32.780, too.
        let mut ends = [call.status("ended", 21_300), call.report(60_000, json!({}))];
        if report_first {
            ends.reverse();
        }
        for end in ends {
            assert_eq!(webhook.post(org, &end).await.status, 200);
            assert_eq!(lead(&database).await, CONTACTED, "report first: {report_first}");
        }
    }
}

/// A test call does not update a lead: the flag is a boolean in `assistantOverrides.metadata` of any message of the
/// call.
#[tokio::test]
async fn a_test_call_moves_no_lead() {
    let (database, webhook, org) = open().await;
    database.lead(org, PHONE).await;
    let test = Call { metadata: json!({"is_test_call": true}), ..Call::default() };
    let ended = Call { metadata: json!({"campaign": 7}), ..test.clone() };
    for body in [test.status("in-progress", 0), ended.status("ended", 21_300), ended.report(60_000, json!({}))] {
        assert_eq!(webhook.post(org, &body).await.status, 200);
    }
    assert_eq!(database.count("call_logs WHERE status = 'completed' AND lead_id IS NOT NULL").await, 1);
    assert_eq!(lead(&database).await, "new");

    let not_a_test = Call { metadata: json!({"is_test_call": "true"}), ..Call::default() };
    assert_eq!(webhook.post(org, &not_a_test.report(60_000, json!({}))).await.status, 200);
    assert_eq!(lead(&database).await, CONTACTED);
}

/// The status of a lead never moves back, and neither does its last contact.
#[tokio::test]
async fn a_lead_only_moves_up() {
    let (database, webhook, org) = open().await;
    database.lead(org, PHONE).await;
    for (status, last_contacted, expected) in [
        ("qualified", "2026-09-20T00:00:00Z", "qualified 2026-09-20 00:00:00"),
        ("qualified", "2026-09-01T00:00:00Z", "qualified 2026-09-14 15:02:32.78"),
        ("new", "2026-09-20T00:00:00Z", "contacted 2026-09-20 00:00:00"),
        ("new", "2026-09-01T00:00:00Z", CONTACTED),
    ] {
        let set = format!("UPDATE leads SET status = '{status}', last_contacted_at = '{last_contacted}'");
        database.superuser().await.batch_execute(&set).await.unwrap();
        assert_eq!(webhook.post(org, &Call::default().report(60_000, json!({}))).await.status, 200);
        assert_eq!(lead(&database).await, expected, "{status} {last_contacted}");
    }
}
