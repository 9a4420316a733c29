//! Pages of the console, and who can open them.

use lambda_http::http::StatusCode;
use ringfence_harness::testing::Call;
use ringfence_identity::Scope;
use serde_json::{Value, json};

use super::{Site, of, token};

/// A call with all kinds of data, and a call that failed permanently.
async fn furnish(site: &Site) -> (Call, String) {
    let call = Call::default();
    let report = call.report(60_000, json!({"artifact": {"transcript": "AI: Hello."}}));
    for body in [call.status("in-progress", 0), call.transcript("A visit, please.", 5_000), report] {
        assert_eq!(site.webhook.post(site.acme, &body).await.status, 200);
    }
    let event = json!({"kind": "transcript", "event_type": "transcript", "text": "My PIN is 1234", "role": "user",
        "call": {"id": "failed-call", "customer_number": "+15555550199", "type": "inboundPhoneCall"}});
    let insert = "INSERT INTO failed_operations (org_id, event_id, event_type, vapi_call_id, function, state, code, receives,
            received_at, event, first_failed_at, last_failed_at)
        VALUES ($1, 'transcript:failed-call:1', 'transcript', 'failed-call', 'transcript', 'dead', 'RF2001', 3, now(), $2, now(), now())";
    let client = site.database.superuser().await;
    client.execute(insert, &[site.acme.as_uuid(), &event]).await.unwrap();
    let attempt = "INSERT INTO failed_attempts (org_id, event_id, failed_at, function, code, sqlstate, constraint_name)
        VALUES ($1, 'transcript:failed-call:1', now(), 'transcript', 'RF2001', '23514', 'nobody_speaks')";
    client.execute(attempt, &[site.acme.as_uuid()]).await.unwrap();
    (call, "transcript:failed-call:1".to_owned())
}

/// Every URL of an org.
fn addresses(site: &Site, call: &Call, failure: &str) -> Vec<String> {
    let org = format!("/console/{}", site.acme);
    vec![
        format!("{org}/live"),
        format!("{org}/calls"),
        format!("{org}/calls?number=%2B15555550142"),
        format!("{org}/calls/{}", call.id),
        format!("{org}/calls/{}/recordings/mono", call.id),
        format!("{org}/failures"),
        format!("{org}/failures?code=RF2001"),
        format!("{org}/failures/one?event_id={failure}"),
        format!("{org}/numbers"),
        format!("{org}/numbers?period=day"),
        format!("{org}/drift"),
        format!("{org}/audit"),
    ]
}

/// D3: with an org's token, no URL shows or changes data of another org. The response is that for unknown data.
#[tokio::test]
async fn an_orgs_token_gets_nothing_of_another_org() {
    let site = Site::open().await;
    let (call, failure) = furnish(&site).await;
    let (own, foreign) = (of(site.acme), of(site.other));
    let never = site.get(&foreign, &format!("/console/{}/calls", uuid::Uuid::new_v4())).await;
    for path in addresses(&site, &call, &failure) {
        let page = site.get(&foreign, &path).await;
        assert_eq!((page.status, &page.text), (StatusCode::NOT_FOUND, &never.text), "{path}");
        assert_eq!(site.json(&foreign, &path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    let org = format!("/console/{}", site.acme);
    for (path, form) in [
        (format!("{org}/live/token"), String::new()),
        (format!("{org}/calls/{}/replay", call.id), String::new()),
        (format!("{org}/failures/redrive"), "code=RF2001".to_owned()),
        (format!("{org}/failures/unmask"), format!("event_id={failure}")),
        (format!("{org}/failures/settle"), format!("event_id={failure}")),
    ] {
        assert_eq!(site.post(&foreign, &path, &form).await.status, StatusCode::NOT_FOUND, "{path}");
        // The same request with a token of the owning org succeeds.
        assert_ne!(site.post(&own, &path, &form).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    // The org's own pages contain no data of the other org.
    for section in ["calls", "failures", "numbers", "drift", "audit"] {
        let shown = site.get(&foreign, &format!("/console/{}/{section}", site.other)).await;
        assert_eq!(shown.status, StatusCode::OK);
        assert!(!shown.text.contains(&call.id) && !shown.text.contains("failed-call"), "{section}");
    }
    assert_eq!(site.get(&foreign, "/console/orgs").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        site.database.count(&format!("audit_log WHERE action = 'operator.view' AND org_id = '{}'", site.acme)).await,
        0
    );
}

/// B9: an operator can open every org, and the audit log of the org records each access before the response.
#[tokio::test]
async fn an_operators_looks_are_audited() {
    let site = Site::open().await;
    let (call, failure) = furnish(&site).await;
    let operator = token(Scope::Operator);
    let orgs = site.get(&operator, "/console/orgs").await;
    assert!(orgs.text.contains("Acme") && orgs.text.contains("Other"), "{}", orgs.text);
    let addresses = addresses(&site, &call, &failure);
    for path in &addresses {
        // Only the recording does not exist.
        let expected = if path.ends_with("/mono") { StatusCode::NOT_FOUND } else { StatusCode::OK };
        assert_eq!(site.get(&operator, path).await.status, expected, "{path}");
    }
    let looks = format!("audit_log WHERE action = 'operator.view' AND actor = 'ada' AND org_id = '{}'", site.acme);
    assert_eq!(site.database.count(&looks).await, i64::try_from(addresses.len()).unwrap());
    // The audit log names the viewed subject, but not the search terms.
    let subjects =
        "SELECT string_agg(DISTINCT subject, '; ' ORDER BY subject) FROM audit_log WHERE action = 'operator.view'";
    let subjects: String = site.database.superuser().await.query_one(subjects, &[]).await.unwrap().get(0);
    let expected = format!(
        "audit; calls; calls by number; calls/{}; drift; failures; failures by code; failures/{failure}; live; numbers; numbers by period; orgs",
        call.id
    );
    assert_eq!(subjects, expected);
    let all = "audit_log WHERE action = 'operator.view' AND org_id IS NULL";
    assert_eq!(site.database.count(all).await, 1, "the list of orgs is a look, too");
    assert_eq!(
        site.get(&operator, &format!("/console/{}/no-such-page", site.acme)).await.status,
        StatusCode::NOT_FOUND
    );
    let nobodys = site.get(&operator, &format!("/console/{}/calls", uuid::Uuid::new_v4())).await;
    assert_eq!(nobodys.status, StatusCode::NOT_FOUND);
}

/// An invalid filter is an error that names it, because the answer to a different filter would mislead.
#[tokio::test]
async fn a_question_that_cannot_be_read_is_refused() {
    let site = Site::open().await;
    for (query, name) in [
        ("calls?since=yesterday", "since"),
        ("calls?until=1", "until"),
        ("calls?before=x", "before"),
        ("failures?before=x", "before"),
        ("audit?before=x", "before"),
    ] {
        let path = format!("/console/{}/{query}", site.acme);
        let (status, problem) = site.json(&of(site.acme), &path).await;
        assert_eq!((status, &problem["status"]), (StatusCode::BAD_REQUEST, &json!(400)), "{query}");
        assert_eq!(problem["detail"], format!("the parameter {name} is missing or invalid"), "{query}");
        assert!(site.get(&of(site.acme), &path).await.text.contains(&format!("{name} is missing")), "{query}");
    }
    let day = site.get(&of(site.acme), &format!("/console/{}/calls?since=2026-11-01", site.acme)).await;
    assert_eq!(day.status, StatusCode::OK);
}

/// Each search field finds the calls of an org.
#[tokio::test]
async fn calls_are_found_by_each_filter() {
    let site = Site::open().await;
    let (token, one, two) =
        (of(site.acme), Call::default(), Call { customer: Some("+15555550143".to_owned()), ..Call::default() });
    for body in [one.status("in-progress", 0), two.status("ringing", 0), two.report(60_000, json!({}))] {
        assert_eq!(site.webhook.post(site.acme, &body).await.status, 200);
    }
    let found = async |query: &str| -> Vec<String> {
        let (status, shown) = site.json(&token, &format!("/console/{}/calls?{query}", site.acme)).await;
        assert_eq!(status, StatusCode::OK);
        shown["calls"].as_array().unwrap().iter().map(|call| call["call_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(found("").await, [two.id.clone(), one.id.clone()], "the latest first");
    for (query, expected) in [
        (format!("call_id={}", one.id), vec![&one.id]),
        ("number=%2B15555550143".to_owned(), vec![&two.id]),
        ("status=in-progress".to_owned(), vec![&one.id]),
        ("family=customer-ended".to_owned(), vec![&two.id]),
        ("since=2026-01-01T00:00:00Z&until=2030-01-01T00:00:00Z".to_owned(), vec![&two.id, &one.id]),
        ("until=2026-01-01T00:00:00Z".to_owned(), vec![]),
        ("number=nobody&status=completed".to_owned(), vec![]),
    ] {
        assert_eq!(found(&query).await, expected.into_iter().cloned().collect::<Vec<_>>(), "{query}");
    }
}

/// A list continues where the previous page ended, and every entry is on exactly one page.
#[tokio::test]
async fn a_long_list_is_read_page_by_page() {
    let site = Site::open().await;
    let token = of(site.acme);
    let rows = "SELECT enter_org($1), count(lock_call($1, 'call-' || n)) FROM generate_series(1, 120) AS n";
    site.database.superuser().await.query(rows, &[site.acme.as_uuid()]).await.unwrap();
    let (mut path, mut seen) = (format!("/console/{}/calls", site.acme), std::collections::BTreeSet::new());
    let mut pages = 0;
    loop {
        let (_, shown) = site.json(&token, &path).await;
        for call in shown["calls"].as_array().unwrap() {
            assert!(seen.insert(call["call_id"].as_str().unwrap().to_owned()), "{call} is twice");
        }
        pages += 1;
        let Some(next) = shown["next"].as_str() else { break };
        path = format!("/console/{}/calls?before={next}", site.acme);
    }
    assert_eq!((seen.len(), pages), (120, 3));
}

/// Failures with the same time are also divided between pages without loss or repetition.
#[tokio::test]
async fn failures_of_one_moment_are_read_page_by_page() {
    let site = Site::open().await;
    let failed =
        "INSERT INTO failed_operations (org_id, event_id, event_type, vapi_call_id, function, state, code, receives,
            received_at, event, first_failed_at, last_failed_at)
        SELECT $1, 'transcript:c:' || n, 'transcript', 'c', 'transcript', 'dead', 'RF2001', 1, now(), '{}', now(), now()
        FROM generate_series(1, 120) AS n";
    site.database.superuser().await.execute(failed, &[site.acme.as_uuid()]).await.unwrap();
    let path = format!("/console/{}/failures", site.acme);
    let (mut next, mut seen) = (path.clone(), std::collections::BTreeSet::new());
    for expected in [50, 100, 120] {
        let (_, shown) = site.json(&of(site.acme), &next).await;
        let failures = shown["failures"].as_array().unwrap();
        seen.extend(failures.iter().map(|failure| failure["event_id"].as_str().unwrap().to_owned()));
        assert_eq!(seen.len(), expected);
        let last = failures.last().unwrap();
        let at = last["last_failed_at"].as_str().unwrap().replace('+', "%2B");
        next = format!("{path}?before={at}~{}", last["event_id"].as_str().unwrap());
    }
}

/// The page of a call shows its transcript, its timeline and its recording.
#[tokio::test]
async fn a_call_shows_all_that_is_known_of_it() {
    let site = Site::open().await;
    let (call, _) = furnish(&site).await;
    let (_, shown) = site.json(&of(site.acme), &format!("/console/{}/calls/{}", site.acme, call.id)).await;
    assert_eq!(shown["transcript"][0]["text"], "A visit, please.");
    let types: Vec<_> =
        shown["timeline"].as_array().unwrap().iter().map(|event| event["event_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["status-update", "end-of-call-report"]);
    assert_eq!(shown["call"]["summary"], "Wants a visit.");
    let page = site.get(&of(site.acme), &format!("/console/{}/calls/{}", site.acme, call.id)).await;
    assert!(page.text.contains("A visit, please.") && page.text.contains("Wants a visit."));
}

/// B7: a failure shows its function, code and number of attempts. Possibly personal content is masked until a user
/// unmasks it.
#[tokio::test]
async fn a_failures_event_is_masked_until_somebody_unmasks_it() {
    let site = Site::open().await;
    let (_, failure) = furnish(&site).await;
    let (token, org) = (of(site.acme), format!("/console/{}", site.acme));
    let (_, list) = site.json(&token, &format!("{org}/failures?code=RF2001")).await;
    assert_eq!((&list["groups"][0]["code"], &list["groups"][0]["count"]), (&json!("RF2001"), &json!(1)));
    assert_eq!((&list["selected"], &list["dead"]), (&json!(1), &json!(1)));

    let (_, shown) = site.json(&token, &format!("{org}/failures/one?event_id={failure}")).await;
    let attempt = &shown["attempts"][0];
    assert_eq!((&attempt["sqlstate"], &attempt["constraint_name"]), (&json!("23514"), &json!("nobody_speaks")));
    assert_eq!(shown["event"]["call"]["id"], "failed-call");
    let masked = shown["event"].to_string();
    assert!(!masked.contains("1234") && !masked.contains("+1555"), "{masked}");
    assert!(site.lambda.invoked().is_empty());

    // The function that unmasks is invoked synchronously with the user's token (console_commands.rs).
    site.lambda.reply_with(json!({"reply": "unmasked", "event": {"text": "My PIN is 1234"}}));
    let whole = site.post(&token, &format!("{org}/failures/unmask"), &format!("event_id={failure}")).await;
    assert!(whole.text.contains("My PIN is 1234"));
    let invoked = site.lambda.invoked().pop().unwrap();
    let command = json!({"command": "unmask", "org_id": site.acme, "event_id": failure});
    assert_eq!((invoked.kind.as_str(), invoked.payload), ("", json!({"token": token, "command": command})));
}

/// B7: the Failures page shows the progress of the org's redrives and replays, and of no other org's.
#[tokio::test]
async fn an_org_sees_the_progress_of_its_operations() {
    let site = Site::open().await;
    let operation = "INSERT INTO admin_operations (id, kind, org_id, actor, parameters, done, failed, remaining, lease_holder, lease_until)
        VALUES (gen_random_uuid(), 'redrive', $1, 'ada', '{}', 41, 2, 7, gen_random_uuid(), now())";
    for org in [Some(*site.acme.as_uuid()), Some(*site.other.as_uuid()), None] {
        site.database.superuser().await.execute(operation, &[&org]).await.unwrap();
    }
    let path = format!("/console/{}/failures", site.acme);
    let (_, shown) = site.json(&of(site.acme), &path).await;
    let operations = shown["operations"].as_array().unwrap();
    assert_eq!(operations.len(), 1);
    let (operation, org) = (&operations[0], json!(site.acme));
    assert_eq!(
        (&operation["org_id"], &operation["kind"], &operation["state"]),
        (&org, &json!("redrive"), &json!("running"))
    );
    assert_eq!((&operation["done"], &operation["failed"], &operation["remaining"]), (&json!(41), &json!(2), &json!(7)));
    let page = site.get(&of(site.acme), &path).await;
    assert!(page.text.contains("Redrives and replays") && page.text.contains(">41<"), "{}", page.text);

    let call = Call::default();
    assert_eq!(site.webhook.post(site.acme, &call.status("ended", 0)).await.status, 200);
    let path = format!("/console/{}/calls/{}", site.acme, call.id);
    assert!(!site.get(&of(site.acme), &path).await.text.contains("Redrives and replays"));
    assert!(site.get(&of(site.acme), &format!("{path}?replayed=1")).await.text.contains("Redrives and replays"));
}

/// Texts of users are escaped, so they are never markup of the page.
#[tokio::test]
async fn transcripts_are_escaped() {
    let site = Site::open().await;
    let call = Call::default();
    let words = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>";
    assert_eq!(site.webhook.post(site.acme, &call.transcript(words, 0)).await.status, 200);
    let path = format!("/console/{}/calls", site.acme);
    let page = site.get(&of(site.acme), &format!("{path}/{}", call.id)).await;
    assert!(!page.text.contains("<script>alert") && !page.text.contains("<img"), "{}", page.text);
    let listed = site.get(&of(site.acme), &format!("{path}?call_id=%22%3E%3Cscript%3Ealert(1)")).await;
    assert!(!listed.text.contains("<script>alert"), "{}", listed.text);
}

/// B11: each failure code links to its page of the runbook.
#[tokio::test]
async fn a_code_leads_to_its_page() {
    let site = Site::open().await;
    let page = site.get(&of(site.acme), "/console/codes/RF2001").await;
    assert!(page.text.contains("Constraint violated") && page.text.contains("<h2>Resolution</h2>"), "{}", page.text);
    assert_eq!(site.get(&of(site.acme), "/console/codes/RF9999").await.status, StatusCode::NOT_FOUND);
}

/// While the database is unavailable, a page says so without details of the database.
#[tokio::test]
async fn without_a_database_a_page_shows_an_error() {
    let mut site = Site::open().await;
    site.console.database = site.database.app_at(Some("127.0.0.1:1"));
    let page = site.get(&of(site.acme), &format!("/console/{}/calls", site.acme)).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    let (status, problem): (_, Value) = site.json(&of(site.acme), &format!("/console/{}/calls", site.acme)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("RF1001")));
}
