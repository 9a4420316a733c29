//! Actions of the console: each sends a command to the function `console-commands` in the name of the token's holder,
//! for the token's org only.

use lambda_http::http::StatusCode;
use ringfence_harness::testing::Call;
use ringfence_harness::testing::webhook::keys;
use ringfence_protocol::admin::ConsoleRequest;
use serde_json::{Value, json};

use super::{Site, of};

/// Checks that `console-commands` can parse the payload, which contains the token.
fn is_understood(payload: Value) {
    let request: ConsoleRequest = serde_json::from_value(payload).unwrap();
    let verifier = keys().console_token_verifier().unwrap();
    assert_eq!(verifier.verify(request.token.expose(), jiff::Timestamp::now()).unwrap().holder, "ada");
}

/// B7: a redrive of one dead letter, or of all of a filter, is started asynchronously.
#[tokio::test]
async fn a_redrive_is_ordered_for_the_persons_org() {
    let site = Site::open().await;
    let path = format!("/console/{}/failures/redrive", site.acme);
    let another = site.other.to_string();
    for (form, chosen) in [
        ("code=RF2001".to_owned(), json!({"code": "RF2001"})),
        ("event_id=transcript%3Ac1%3A1".to_owned(), json!({"event_id": "transcript:c1:1"})),
        ("call_id=c1&before=2026-11-01T00:00:00Z".to_owned(), json!({"call_id": "c1"})),
        ("all=1".to_owned(), json!({})),
        // Other fields of the form do not matter: the org is the one of the URL.
        (format!("org_id={another}&code=RF1001"), json!({"code": "RF1001"})),
    ] {
        let reply = site.post(&of(site.acme), &path, &form).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{form}");
        let order = site.lambda.invoked().pop().unwrap();
        assert_eq!(
            (order.path.as_str(), order.kind.as_str()),
            ("/2015-03-31/functions/console-commands/invocations", "Event")
        );
        let command = &order.payload["command"];
        assert_eq!((&command["command"], &command["org_id"]), (&json!("redrive"), &json!(site.acme)));
        for key in ["code", "event_id", "call_id"] {
            assert_eq!(command[key], chosen.get(key).cloned().unwrap_or(Value::Null), "{form} {key}");
        }
        is_understood(order.payload);
    }
    let orders = site.lambda.invoked();
    assert_eq!(
        orders[2].payload["command"]["before"], "2026-11-01T00:00:00Z",
        "what failed after the page was made stays"
    );
    for form in ["code=nonsense", "code=RF2001&before=nonsense", "", "code="] {
        assert_eq!(site.post(&of(site.acme), &path, form).await.status, StatusCode::BAD_REQUEST, "{form}");
    }
    assert_eq!(site.lambda.invoked().len(), orders.len(), "a choice that is none does not choose all");
}

/// B7: a tool call with an unknown outcome is in no queue, so it is settled and not redriven.
#[tokio::test]
async fn a_tool_call_is_settled_and_not_sent_back() {
    let site = Site::open().await;
    let failed = "INSERT INTO failed_operations (org_id, event_id, event_type, vapi_call_id, function, state, code, receives,
            received_at, event, first_failed_at, last_failed_at)
        VALUES ($1, 'tool-calls:c1:t1', 'tool-calls', 'c1', 'tool-calls', 'dead', 'RF7008', 1, now(), '{}', now(), now())";
    site.database.superuser().await.execute(failed, &[site.acme.as_uuid()]).await.unwrap();
    let path = format!("/console/{}/failures", site.acme);
    let (_, list) = site.json(&of(site.acme), &path).await;
    assert_eq!((&list["selected"], &list["dead"]), (&json!(1), &json!(0)));
    let page = site.get(&of(site.acme), &format!("{path}/one?event_id=tool-calls:c1:t1")).await;
    assert!(page.text.contains("/failures/settle") && !page.text.contains("/failures/redrive"), "{}", page.text);
    let reply = site.post(&of(site.acme), &format!("{path}/settle"), "event_id=tool-calls%3Ac1%3At1").await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    let order = site.lambda.invoked().pop().unwrap().payload;
    let command = &order["command"];
    assert_eq!((&command["command"], &command["org_id"]), (&json!("settle"), &json!(site.acme)));
    is_understood(order);
}

/// D9: the page of a call can replay the call's events.
#[tokio::test]
async fn a_replay_is_ordered_for_one_call() {
    let site = Site::open().await;
    let call = Call::default();
    assert_eq!(site.webhook.post(site.acme, &call.status("ended", 0)).await.status, 200);
    let path = |call: &str| format!("/console/{}/calls/{call}/replay", site.acme);
    assert_eq!(site.post(&of(site.acme), &path(&call.id), "").await.status, StatusCode::SEE_OTHER);
    let order = site.lambda.invoked().pop().unwrap();
    let command = &order.payload["command"];
    assert_eq!((&command["command"], &command["org_id"]), (&json!("replay"), &json!(site.acme)));
    assert_eq!(command["call_id"], call.id);
    is_understood(order.payload);
    assert_eq!(site.post(&of(site.acme), &path("never-was"), "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.lambda.invoked().len(), 1);
}

/// The script of the live page receives a token for viewers of this org only.
#[tokio::test]
async fn the_live_page_gets_a_token_of_its_org() {
    let site = Site::open().await;
    let reply = site.post(&of(site.acme), &format!("/console/{}/live/token", site.acme), "").await;
    let answer: Value = serde_json::from_str(&reply.text).unwrap();
    let tokens = ringfence_harness::testing::webhook::keys().live_tokens().unwrap();
    let claims = tokens.verify(answer["token"].as_str().unwrap(), jiff::Timestamp::now()).unwrap();
    assert_eq!(claims.scope, site.acme);
}
