//! `tool-calls`: each is executed once, despite duplicate deliveries, interruptions and misbehaving endpoints.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use hmac::{Hmac, Mac as _};
use ringfence_harness::testing::endpoint::Manner;
use ringfence_harness::testing::webhook::{TestWebhook, masters};
use ringfence_harness::testing::{Proxy, TestDatabase, TestEndpoint, TestQueues, sample};
use ringfence_protocol::admin::{Replayable, Selection, ToolKind};
use ringfence_vapi::OrgId;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::Semaphore;

use super::{answer, lead, open, tool, tool_call};

fn book(call: &str, id: &str) -> Value {
    tool_call(call, id, "book", &json!({"date": "2026-09-15"}))
}

/// The function's timeout in the template and the tool's timeout at Vapi. It is not a measure of speed: a later answer
/// has no effect.
const LAMBDAS_LIMIT: Duration = Duration::from_secs(20);

/// The only result of an answer.
fn result(message: &Value, reply: &ringfence_harness::testing::webhook::Reply) -> Value {
    answer(message, reply)["results"][0].clone()
}

/// State of the only execution.
async fn execution(database: &TestDatabase) -> String {
    let stands = "SELECT concat_ws(' ', state, 'attempt ' || attempt, code) FROM tool_executions";
    database.text(stands).await.unwrap()
}

/// Ends all leases.
async fn expire_leases(database: &TestDatabase) {
    database
        .superuser()
        .await
        .batch_execute("UPDATE tool_executions SET lease_until = now() - interval '1 s'")
        .await
        .unwrap();
}

/// The request to the endpoint is signed by the Standard Webhooks specification and contains the fields that it needs.
#[tokio::test]
async fn a_call_is_sent_signed_and_answered() {
    let (database, webhook, org) = open().await;
    let endpoint = TestEndpoint::start(Manner::Answers(json!({
        "result": "Booked\nfor Tuesday", "message": {"type": "request-complete", "content": "Done"}, "metadata": {"n": 1}
    })))
    .await;
    tool(&database, org, "book", &endpoint.url, false).await;
    let lead_id = lead(&database, org, "Sam", json!({})).await;
    let message = book("c1", "call_1");
    let expected = json!({"toolCallId": "call_1", "name": "book", "result": "Booked for Tuesday",
        "message": {"type": "request-complete", "content": "Done"}, "metadata": {"n": 1}});
    assert_eq!(result(&message, &webhook.post(org, &message).await), expected);

    let request = endpoint.requests().remove(0);
    let data = json!({"org_id": org, "call_id": "c1", "chat_id": null, "session_id": null, "lead_id": lead_id,
        "tool_call_id": "call_1", "name": "book", "arguments": {"date": "2026-09-15"}, "attempt": 1});
    assert_eq!((&request.body["type"], &request.body["data"]), (&json!("tool-call"), &data));
    let header = |name: &str| request.headers[name].to_str().unwrap().to_owned();
    let secret = masters().endpoint_secrets().newest(org).expose();
    let secret = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let signed = format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), request.text);
    let mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap().chain_update(signed).finalize().into_bytes();
    assert_eq!(header("webhook-signature"), format!("v1,{}", STANDARD.encode(mac)));
    assert_eq!(header("idempotency-key"), header("webhook-id"));
    assert_eq!(execution(&database).await, "done attempt 1");
}

/// D6: concurrent duplicates of one tool call, in separate webhook functions, execute it once. Every delivery receives
/// the same result.
#[tokio::test]
async fn a_storm_of_duplicates_executes_once() {
    let (database, webhook, org) = open().await;
    let queues = TestQueues::new().await;
    let endpoint = TestEndpoint::start(Manner::Answers(json!({"result": "Booked"}))).await;
    tool(&database, org, "book", &endpoint.url, true).await;
    let webhooks: Vec<TestWebhook> = (0..16).map(|_| TestWebhook::new(database.app(), &queues)).collect();
    let message = book("c1", "call_1");
    let replies = join_all((0..100).map(|n| webhooks[n % webhooks.len()].post(org, &message))).await;
    for reply in &replies {
        assert_eq!(result(&message, reply)["result"], "Booked");
    }
    assert_eq!(webhook.post(org, &message).await.body, replies[0].body);
    assert_eq!(endpoint.requests().len(), 1);
    assert_eq!(database.count("tool_executions").await, 1);
}

/// The calls of a message run concurrently: the endpoint answers only after it has received all three.
#[tokio::test]
async fn the_calls_of_a_message_run_side_by_side() {
    let (database, webhook, org) = open().await;
    let endpoint = TestEndpoint::start(Manner::Together(3, json!({"result": "ok"}))).await;
    for name in ["book_appointment", "lookup_customer", "notify_owner"] {
        tool(&database, org, name, &endpoint.url, false).await;
    }
    let message = sample("tool-calls.multiple");
    let results = answer(&message, &webhook.post(org, &message).await)["results"].clone();
    let ids: Vec<&str> =
        results.as_array().unwrap().iter().map(|result| result["toolCallId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["call_Qm3vT7aXw2", "call_Zk9pL1sRe8", "call_Nf4cH6uYb0"], "in the order of the message");
    assert!(results.as_array().unwrap().iter().all(|result| result["result"] == "ok"), "{results}");
}

/// A delivery that arrives while the first is still running waits for it.
#[tokio::test]
async fn a_delivery_waits_for_the_one_that_runs() {
    let (database, webhook, org) = open().await;
    let permits = Arc::new(Semaphore::new(0));
    let endpoint = TestEndpoint::start(Manner::Waits(Arc::clone(&permits), json!({"result": "Booked"}))).await;
    tool(&database, org, "book", &endpoint.url, true).await;
    let second = TestWebhook::new(database.app(), &TestQueues::new().await);
    let message = book("c1", "call_1");
    let (first, second, ()) = tokio::join!(
        webhook.post(org, &message),
        async {
            endpoint.until(1).await;
            second.post(org, &message).await
        },
        async {
            endpoint.until(1).await;
            // Both have tried to claim: one has the lease, and the other knows that the call is running.
            let claimed = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                AND usename = 'ringfence_app' AND state = 'idle' AND query LIKE '%claim_tool_calls%'";
            while database.text(claimed).await.as_deref() != Some("2") {
                tokio::task::yield_now().await;
            }
            permits.add_permits(1);
        }
    );
    assert_eq!((&result(&message, &first)["result"], &second.body), (&json!("Booked"), &first.body));
    assert_eq!(endpoint.requests().len(), 1);
}

/// Drops a claimant during the request to the endpoint, so that only its lease remains.
async fn die_half_way(database: &TestDatabase, endpoint: &TestEndpoint, org: OrgId, message: &Value) {
    let webhook = TestWebhook::new(database.app(), &TestQueues::new().await);
    tokio::select! {
        _ = webhook.post(org, message) => panic!("the endpoint answers nothing"),
        () = endpoint.until(1) => {}
    }
    assert_eq!(execution(database).await, "running attempt 1");
    expire_leases(database).await;
}

/// After such an interruption, an idempotent tool receives the request again, with the same key.
#[tokio::test]
async fn an_idempotent_call_is_sent_again_after_a_death() {
    let (database, webhook, org) = open().await;
    let endpoint = TestEndpoint::start(Manner::Hangs).await;
    tool(&database, org, "book", &endpoint.url, true).await;
    let message = book("c1", "call_1");
    die_half_way(&database, &endpoint, org, &message).await;
    endpoint.behave(Manner::Answers(json!({"result": "Booked"})));
    assert_eq!(result(&message, &webhook.post(org, &message).await)["result"], "Booked");
    let requests = endpoint.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].headers["idempotency-key"], requests[1].headers["idempotency-key"]);
    assert_eq!(requests[1].body["data"]["attempt"], 2);
    assert_eq!(execution(&database).await, "done attempt 2");
    assert_eq!(database.count("failed_operations").await, 0);
}

/// Any other tool does not: the model receives the answer that the result is unknown, and a failed operation must be
/// settled. Neither a replay nor a redelivery sends the request.
#[tokio::test]
async fn another_call_is_never_sent_again_after_a_death() {
    let (database, webhook, org) = open().await;
    let endpoint = TestEndpoint::start(Manner::Hangs).await;
    tool(&database, org, "book", &endpoint.url, false).await;
    let message = book("c1", "call_1");
    die_half_way(&database, &endpoint, org, &message).await;
    endpoint.behave(Manner::Answers(json!({"result": "Booked"})));
    for _ in 0..2 {
        let result = result(&message, &webhook.post(org, &message).await);
        assert!(result["error"].as_str().unwrap().starts_with("It is not known"), "{result}");
    }
    assert_eq!(execution(&database).await, "done attempt 1 RF7008");
    let failed = "SELECT concat_ws(' ', state, code, function, vapi_call_id) FROM failed_operations";
    assert_eq!(database.text(failed).await.as_deref(), Some("dead RF7008 tool-calls c1"));
    let id = database.text("SELECT event_id FROM failed_operations").await.unwrap();
    assert!(id.starts_with("tool-calls:c1:call_1:"), "{id}");
    assert!(!database.text("SELECT event::text FROM failed_operations").await.unwrap().contains("2026-09-15"));

    let admin = database.admin().await;
    assert_eq!(admin.count_replayable(Replayable::Failed, &Selection::default()).await.unwrap(), 0);
    let replayed = format!("SELECT replay_failed_operation_v1('{org}', '{id}')");
    assert_eq!(database.text(&replayed).await.as_deref(), Some("false"));
    let other = database.org("Other").await;
    assert!(!admin.settle_tool_call(other, &id).await.unwrap());
    assert!(admin.settle_tool_call(org, &id).await.unwrap());
    assert!(!admin.settle_tool_call(org, &id).await.unwrap(), "it is settled once");
    assert_eq!(database.count("failed_operations WHERE state = 'resolved'").await, 1);
    assert_eq!(endpoint.requests().len(), 1);
}

/// If two deliveries find that the lease has ended, one sends the request, and both return its result.
#[tokio::test]
async fn a_lease_that_ended_is_taken_over_once() {
    let (database, webhook, org) = open().await;
    let endpoint = TestEndpoint::start(Manner::Hangs).await;
    tool(&database, org, "book", &endpoint.url, true).await;
    let message = book("c1", "call_1");
    die_half_way(&database, &endpoint, org, &message).await;
    endpoint.behave(Manner::Answers(json!({"result": "Booked"})));
    let queues = TestQueues::new().await;
    let webhooks: Vec<TestWebhook> = (0..8).map(|_| TestWebhook::new(database.app(), &queues)).collect();
    for reply in join_all(webhooks.iter().map(|webhook| webhook.post(org, &message))).await {
        assert_eq!(result(&message, &reply)["result"], "Booked");
    }
    assert_eq!(endpoint.requests().len(), 2, "the one that died and one more");
    assert_eq!(webhook.post(org, &message).await.status, 200);
}

/// The result of a claimant that finishes after its lease has ended is stored, for every delivery and also after the
/// execution was given up.
#[tokio::test]
async fn a_late_tool_result_counts() {
    for (is_idempotent, given_up) in [(true, ""), (false, "RF7008")] {
        let (database, webhook, org) = open().await;
        let permits = Arc::new(Semaphore::new(0));
        let endpoint = TestEndpoint::start(Manner::Waits(Arc::clone(&permits), json!({"result": "Booked"}))).await;
        tool(&database, org, "book", &endpoint.url, is_idempotent).await;
        let message = book("c1", "call_1");
        let second = TestWebhook::new(database.app(), &TestQueues::new().await);
        let (first, ()) = tokio::join!(webhook.post(org, &message), async {
            endpoint.until(1).await;
            expire_leases(&database).await;
            if is_idempotent {
                // Taken over by another claimant that is dropped, too.
                tokio::select! {
                    _ = second.post(org, &message) => panic!("the endpoint answers nothing yet"),
                    () = endpoint.until(2) => {}
                }
            } else {
                let told = result(&message, &second.post(org, &message).await);
                assert!(told["error"].is_string(), "{told}");
                assert_eq!(execution(&database).await, "done attempt 1 RF7008");
            }
            permits.add_permits(2);
        });
        assert_eq!(result(&message, &first)["result"], "Booked", "{given_up}");
        assert_eq!(webhook.post(org, &message).await.body, first.body, "{given_up}");
        assert_eq!(database.count("failed_operations WHERE state <> 'resolved'").await, 0, "its fate is known");
        assert_eq!(endpoint.requests().len(), 1 + usize::from(is_idempotent));
    }
}

/// If the database hangs while the endpoint works, the result is still returned before the timeouts of Vapi and Lambda.
#[tokio::test]
async fn a_database_that_hangs_does_not_hold_a_result_back() {
    let (database, proxy) = (TestDatabase::new().await, Proxy::start().await);
    let webhook = TestWebhook::new(database.app_at(Some(&proxy.address)), &TestQueues::new().await);
    let org = database.org("Acme").await;
    let permits = Arc::new(Semaphore::new(0));
    let endpoint = TestEndpoint::start(Manner::Waits(Arc::clone(&permits), json!({"result": "Booked"}))).await;
    tool(&database, org, "book", &endpoint.url, true).await;
    let message = book("c1", "call_1");
    let posted = tokio::time::timeout(LAMBDAS_LIMIT, webhook.post(org, &message));
    let (reply, ()) = tokio::join!(posted, async {
        endpoint.until(1).await;
        proxy.fall_silent(true);
        permits.add_permits(1);
    });
    assert_eq!(result(&message, &reply.expect("an answer in time"))["result"], "Booked");
}

/// If the connection ends after the endpoint has answered, the model receives the result, and the execution is open
/// until its lease ends.
#[tokio::test]
async fn a_result_that_cannot_be_stored_is_still_answered() {
    let (database, proxy) = (TestDatabase::new().await, Proxy::start().await);
    let webhook = TestWebhook::new(database.app_at(Some(&proxy.address)), &TestQueues::new().await);
    let org = database.org("Acme").await;
    let permits = Arc::new(Semaphore::new(0));
    let endpoint = TestEndpoint::start(Manner::Waits(Arc::clone(&permits), json!({"result": "Booked"}))).await;
    tool(&database, org, "book", &endpoint.url, true).await;
    let message = book("c1", "call_1");
    let (reply, ()) = tokio::join!(webhook.post(org, &message), async {
        endpoint.until(1).await;
        proxy.refuse(true);
        proxy.cut();
        permits.add_permits(1);
    });
    assert_eq!(result(&message, &reply)["result"], "Booked");
    assert_eq!(execution(&database).await, "running attempt 1");
}

/// If the answer to a claim is lost, the claimant still owns the claim and sends the request once.
#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_not_somebody_elses() {
    let (database, _door, org) = open().await;
    tool(&database, org, "book", "https://tools.example.com/book", false).await;
    let claim = async |claimant: &str| {
        let claimed = format!(
            "SELECT executions -> 0 ->> 'state' FROM claim_tool_calls_v1('{org}', 1, '{{\"id\": \"c1\"}}', NULL,
                '[{{\"execution_id\": \"tool-calls:c1:t1\", \"tool\": \"book\"}}]', now(), '{claimant}')"
        );
        database.text(&claimed).await.unwrap()
    };
    let (one, other) = ("8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11", "8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c12");
    assert_eq!(claim(one).await, "claimed");
    assert_eq!(claim(one).await, "claimed");
    assert_eq!(claim(other).await, "running");
}

/// Endpoints that are slow, fail or answer incorrectly: the call is answered in time with a text for the model, and the
/// code is stored.
#[tokio::test]
async fn an_endpoint_that_misbehaves_is_survived() {
    let elsewhere = TestEndpoint::start(Manner::Answers(json!({"result": "internal"}))).await;
    for (manner, code) in [
        (Manner::Hangs, "RF7003"),
        (Manner::Fails(500, "{\"result\":\"ok\"}".to_owned()), "RF7005"),
        (Manner::Fails(401, String::new()), "RF7005"),
        (Manner::Fails(200, "<html>".to_owned()), "RF7006"),
        (Manner::Answers(json!(["ok"])), "RF7006"),
        (Manner::Answers(json!({"results": [{"toolCallId": "call_1", "result": "ok"}]})), "RF7006"),
        (Manner::Endless, "RF7007"),
        (Manner::BreaksOff, "RF7010"),
        (Manner::Redirects(elsewhere.url.clone()), "RF7004"),
        (Manner::Redirects("http://169.254.169.254/latest/meta-data".to_owned()), "RF7004"),
    ] {
        let (database, webhook, org) = open().await;
        let endpoint = TestEndpoint::start(manner).await;
        tool(&database, org, "book", &endpoint.url, false).await;
        database.superuser().await.batch_execute("UPDATE tools SET timeout_seconds = 1").await.unwrap();
        let message = book("c1", "call_1");
        let first = webhook.post(org, &message).await;
        assert!(result(&message, &first)["error"].as_str().unwrap().ends_with('.'), "{code}");
        assert_eq!(execution(&database).await, format!("done attempt 1 {code}"));
        assert_eq!(
            webhook.post(org, &message).await.body,
            first.body,
            "{code}: a failure is not tried again by itself"
        );
        assert_eq!(endpoint.requests().len(), 1, "{code}");
    }
    assert!(elsewhere.requests().is_empty(), "a redirect is not followed");
}

/// If no server listens or the address is private, nothing is sent.
#[tokio::test]
async fn an_address_that_is_not_public_is_refused_when_it_is_connected_to() {
    use assistant_request::{Answers, Fallback};
    use ringfence_egress::{EgressClient, EgressPolicy, Endpoints};
    use tool_calls::Tools;

    let (database, queues) = (TestDatabase::new().await, TestQueues::new().await);
    let org = database.org("Acme").await;
    let endpoint = TestEndpoint::start(Manner::Answers(json!({"result": "internal"}))).await;
    let port = endpoint.url.rsplit_once(':').unwrap().1.to_owned();
    let endpoints = Arc::new(Endpoints::new(EgressClient::new(EgressPolicy::Public), masters().endpoint_secrets()));
    let answers = Answers::new(database.app(), Arc::clone(&endpoints), Fallback::default());
    let webhook = TestWebhook::of(
        database.app(),
        &queues,
        answers,
        Tools::new(database.app(), endpoints, masters().number_hasher()),
    );
    for (index, url) in [
        endpoint.url.clone(),
        format!("https://localhost:{port}"),
        format!("https://127.0.0.1:{port}"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://[fd00:ec2::254]/latest".to_owned(),
        "https://10.0.0.1/".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        tool(&database, org, "book", &url, false).await;
        let message = book("c1", &format!("call_{index}"));
        assert!(result(&message, &webhook.post(org, &message).await)["error"].is_string(), "{url}");
    }
    assert_eq!(database.count("tool_executions WHERE code = 'RF7004'").await, 6);
    assert!(endpoint.requests().is_empty());

    let nobody = TestWebhook::new(database.app(), &queues);
    tool(&database, org, "book", "http://127.0.0.1:1/", false).await;
    let message = book("c1", "call_nobody");
    assert!(result(&message, &nobody.post(org, &message).await)["error"].is_string());
    assert_eq!(database.count("tool_executions WHERE code = 'RF7002'").await, 1);
}

/// A URL that is not a valid endpoint cannot be registered.
#[tokio::test]
async fn an_endpoint_is_https_or_local() {
    let (database, _door, org) = open().await;
    let admin = database.admin().await;
    for (endpoint, fits) in [
        ("https://tools.example.com/book?x=1", true),
        ("https://tools.example.com:8443", true),
        ("http://127.0.0.1:9000/book", true),
        ("http://localhost/book", true),
        ("http://tools.example.com/book", false),
        ("http://localhost.example.com/book", false),
        ("https://user:password@tools.example.com/", false),
        ("ftp://tools.example.com", false),
        ("https:///book", false),
    ] {
        let (name, endpoint) = ("book".to_owned(), endpoint.to_owned());
        let tool = ringfence_protocol::admin::Tool {
            kind: ToolKind::Tool,
            name,
            endpoint: endpoint.clone(),
            timeout_seconds: 10,
            is_idempotent: false,
        };
        let constraint = admin.set_tool(org, &tool).await.err().and_then(|failure| failure.constraint);
        assert_eq!(constraint.as_deref(), (!fits).then_some("tools_endpoint_https"), "{endpoint}");
    }
    assert_eq!(admin.tools(org).await.unwrap().len(), 1, "one of the same name is replaced");
    assert!(admin.remove_tool(org, ToolKind::Tool, "book").await.unwrap());
    assert!(!admin.remove_tool(org, ToolKind::Tool, "book").await.unwrap());
    let acts = "SELECT string_agg(DISTINCT action, ' ' ORDER BY action) FROM audit_log WHERE action LIKE 'tool%'";
    assert_eq!(database.text(acts).await.as_deref(), Some("tool.remove tool.set"));
}

/// A call of an unregistered tool is answered with an error at once. The tools and executions of other orgs are
/// separate.
#[tokio::test]
async fn a_tool_belongs_to_its_org() {
    let (database, webhook, org) = open().await;
    let other = database.org("Other").await;
    let endpoint = TestEndpoint::start(Manner::Answers(json!({"result": "theirs"}))).await;
    tool(&database, other, "book", &endpoint.url, false).await;
    let message = book("c1", "call_1");
    assert_eq!(result(&message, &webhook.post(org, &message).await)["error"], "This tool is not configured.");
    assert_eq!(database.count("tool_executions").await, 0);
    assert!(endpoint.requests().is_empty());

    let ours = TestEndpoint::start(Manner::Answers(json!({"result": "ours"}))).await;
    tool(&database, org, "book", &ours.url, false).await;
    assert_eq!(result(&message, &webhook.post(org, &message).await)["result"], "ours");
    assert_eq!(result(&message, &webhook.post(other, &message).await)["result"], "theirs");
    let keys = [&endpoint, &ours].map(|endpoint| endpoint.requests()[0].headers["idempotency-key"].clone());
    assert_ne!(keys[0], keys[1], "one service may serve both orgs");
}

/// All formats of arguments reach the endpoint as the same value. Truncated arguments are not sent.
#[tokio::test]
async fn every_shape_of_arguments_reaches_the_endpoint() {
    let (database, webhook, org) = open().await;
    let endpoint = TestEndpoint::start(Manner::Answers(json!({"result": "ok"}))).await;
    for name in ["book_appointment", "lookup_customer"] {
        tool(&database, org, name, &endpoint.url, false).await;
    }
    webhook.post(org, &sample("tool-calls.single")).await;
    let expected = json!({"date": "2026-09-15", "time": "10:00", "name": "Sam Example"});
    assert_eq!(endpoint.requests()[0].body["data"]["arguments"], expected);
    let mut wild = sample("wild.tool-calls.arguments-object");
    wild["message"]["call"]["id"] = json!("another-call");
    webhook.post(org, &wild).await;
    let arguments: Vec<Value> =
        endpoint.requests().into_iter().skip(1).map(|request| request.body["data"]["arguments"].clone()).collect();
    assert!(arguments.contains(&expected), "{arguments:?}");

    let cut = tool_call("c2", "call_cut", "book_appointment", &json!("{\"date\": \"20"));
    let told = result(&cut, &webhook.post(org, &cut).await);
    assert!(told["error"].as_str().unwrap().contains("arguments"), "{told}");
    assert_eq!(endpoint.requests().len(), 3);
}

/// The legacy message is also executed once, although it has no id.
#[tokio::test]
async fn a_legacy_function_call_is_executed_once() {
    let (database, webhook, org) = open().await;
    let endpoint = TestEndpoint::start(Manner::Answers(json!({"result": "Booked"}))).await;
    tool(&database, org, "book_appointment", &endpoint.url, false).await;
    let message = sample("function-call.legacy");
    for _ in 0..2 {
        assert_eq!(answer(&message, &webhook.post(org, &message).await), json!({"result": "Booked"}));
    }
    assert_eq!(endpoint.requests().len(), 1);
}

/// Without the database nothing is sent, because it is unknown whether the request was sent before.
#[tokio::test]
async fn without_the_database_nothing_is_sent() {
    let (database, proxy) = (TestDatabase::new().await, Proxy::start().await);
    let webhook = TestWebhook::new(database.app_at(Some(&proxy.address)), &TestQueues::new().await);
    let org = database.org("Acme").await;
    let endpoint = TestEndpoint::start(Manner::Answers(json!({"result": "Booked"}))).await;
    tool(&database, org, "book", &endpoint.url, true).await;
    proxy.refuse(true);
    let message = book("c1", "call_1");
    assert!(result(&message, &webhook.post(org, &message).await)["error"].is_string());
    assert!(endpoint.requests().is_empty());
}
