//! A drill that kills a function between claiming a tool call and storing its result.

use std::time::Duration;

use ringfence_protocol::admin::{Command, Tool, ToolKind};
use serde_json::{Value, json};

use super::site::Site;
use super::traffic::Tenant;
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::local::http;
use ringfence_harness::testing::TestEndpoint;
use ringfence_harness::testing::endpoint::Manner;

/// Longer than a function takes for the whole tool call.
const ANSWER_LIMIT: Duration = Duration::from_secs(40);

/// Kills the webhook function during a tool call and delivers the call again. An idempotent call is sent a second time
/// and answered. For any other call, the answer to the model says that the result is unknown, and a failed operation is
/// recorded.
pub(super) async fn kill_between_claim_and_result(site: &Site<'_>, tenant: &Tenant) -> Result<()> {
    for is_idempotent in [true, false] {
        let endpoint = TestEndpoint::start(Manner::Hangs).await;
        let name = if is_idempotent { "idempotent" } else { "once" };
        let (kind, endpoint_url) = (ToolKind::Tool, endpoint.url.clone());
        let tool = Tool { kind, name: name.to_owned(), endpoint: endpoint_url, timeout_seconds: 1, is_idempotent };
        let act = Command::SetTool { actor: "drill".to_owned(), org_id: tenant.target.org, tool };
        site.administration.perform(act).await.context("register a tool")?;
        let post = async || call(tenant, name).await;
        let killed = async {
            endpoint.until(1).await;
            endpoint.behave(Manner::Answers(json!({"result": "Booked for Tuesday at ten"})));
            site.host.kill("webhook").await;
        };
        let (first, ()) = tokio::join!(post(), killed);
        if first.is_ok() {
            return Err(Error::new("a function that was killed answered a tool call"));
        }
        // This request waits until the lease of the killed function ends.
        let answer = post().await?;
        let result = &answer["results"][0];
        let (is_right, sent) =
            if is_idempotent { (result["result"].is_string(), 2) } else { (result["error"].is_string(), 1) };
        if !is_right || endpoint.count() != sent {
            let text =
                format!("a tool call ({name}) whose function was killed: sent {} times, {answer}", endpoint.count());
            return Err(Error::new(text));
        }
    }
    let client = ringfence_harness::local::connection::open(&site.owner_url).await?;
    let failed = "SELECT count(*) FROM failed_operations WHERE code = 'RF7008' AND state = 'dead' AND org_id = $1";
    let failed: i64 =
        client.query_one(failed, &[tenant.target.org.as_uuid()]).await.context("count the failures")?.get(0);
    if failed == 1 { Ok(()) } else { Err(Error::new(format!("{failed} failures of one interrupted tool call"))) }
}

async fn call(tenant: &Tenant, name: &str) -> Result<Value> {
    let function = json!({"name": name, "arguments": {"date": "2026-09-15"}});
    let message = json!({"message": {"type": "tool-calls", "call": {"id": "tool-drill"},
        "toolCallList": [{"id": name, "type": "function", "function": function}]}});
    let request =
        http::client(ANSWER_LIMIT)?.post(&tenant.target.webhook_url).header("x-vapi-secret", &tenant.target.key);
    let answer = request.body(message.to_string()).send().await.and_then(reqwest::Response::error_for_status);
    answer.context("post a tool call")?.json().await.context("read the answer to a tool call")
}
