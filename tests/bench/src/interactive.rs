//! Latency of interactive messages: the answer to an assistant request and the result of a tool call, each by the
//! function of the message's own route.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::Length;
use super::events::request;
use super::load::is_taken;
use super::site::Site;
use super::table::{Report, Table, number, percentile};
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::lambda::Host;
use ringfence_harness::testing::TestEndpoint;
use ringfence_harness::testing::endpoint::Manner;

/// Vapi's limits are far above all of these latencies: 7500 ms for an assistant request, 20000 ms for a tool call.
const COLUMNS: [&str; 7] = ["message", "environments", "answers", "p50 ms", "p95 ms", "p99 ms", "longest ms"];

/// A message, in as many variants as there are answers.
struct Kind {
    name: &'static str,
    function: &'static str,
    body: fn(usize) -> Value,
    /// Text that every correct answer contains.
    says: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind { name: "assistant-request", function: "assistant-request", body: assistant_request, says: "assistantId" },
    Kind { name: "tool-calls, new", function: "tool-calls", body: tool_call, says: "Booked" },
    Kind { name: "tool-calls, delivered again", function: "tool-calls", body: tool_call, says: "Booked" },
];

/// Posts the number of messages for the length, one after another from each of one and of four clients.
pub(super) async fn measure(site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
    let count = if length == Length::Full { 2_000 } else { 20 };
    let endpoint = TestEndpoint::start(Manner::Answers(json!({"result": "Booked for Tuesday at ten"}))).await;
    let client = site.superuser().await?;
    let tool = "INSERT INTO tools (org_id, kind, name, endpoint, timeout_seconds, is_idempotent) VALUES ($1, 'tool', 'book', $2, 10, true)
        ON CONFLICT ON CONSTRAINT tools_pkey DO UPDATE SET endpoint = excluded.endpoint";
    client.execute(tool, &[site.org.as_uuid(), &endpoint.url]).await.context("register the bench's tool")?;
    let default = "UPDATE agents SET is_default = true WHERE org_id = $1";
    client.execute(default, &[site.org.as_uuid()]).await.context("make the bench's agent the default")?;

    let mut table = Table::new("Interactive messages", &COLUMNS);
    for environments in [1, 4] {
        let specs = ["assistant-request", "tool-calls"].map(|name| site.loaded(name, environments));
        let host = Host::start(&specs.into_iter().collect::<Result<Vec<_>>>()?).await?;
        let sent = endpoint.count();
        for kind in &KINDS {
            let times = post(site, &host, kind, environments, count).await?;
            let figures = [0.5, 0.95, 0.99, 1.0].map(|share| number(percentile(times.iter().copied(), share)));
            let counts = [environments.to_string(), times.len().to_string()];
            table.row([kind.name.to_owned()].into_iter().chain(counts).chain(figures));
        }
        host.stop().await;
        if endpoint.count() - sent != count {
            let text = format!("{count} tool calls, delivered twice, were sent {} times", endpoint.count() - sent);
            return Err(Error::new(text));
        }
        // The next number of environments uses its own calls.
        client.execute("DELETE FROM tool_executions", &[]).await.context("forget the tool calls")?;
    }
    report.add(table);
    Ok(())
}

/// Milliseconds from each message to its answer.
async fn post(site: &Site<'_>, host: &Host, kind: &Kind, clients: usize, count: usize) -> Result<Vec<f64>> {
    let times = Mutex::new(Vec::with_capacity(count));
    let client = async |client: usize| {
        for index in (client..count).step_by(clients) {
            let event = request(site, &(kind.body)(index).to_string())?;
            let posted = Instant::now();
            let answer = host.invoke(kind.function, event.into()).await;
            let took: Duration = posted.elapsed();
            let is_right = answer
                .as_ref()
                .is_ok_and(|answer| is_taken(answer) && String::from_utf8_lossy(answer).contains(kind.says));
            if !is_right {
                return Err(Error::new(format!("{} was answered {answer:?}", kind.name)));
            }
            if let Ok(mut times) = times.lock() {
                times.push(took.as_secs_f64() * 1_000.0);
            }
        }
        Ok(())
    };
    try_join_all((0..clients).map(client)).await?;
    times.into_inner().map_err(|_| Error::new("a client of the load panicked"))
}

/// The same caller each time, in a different call.
pub(super) fn assistant_request(index: usize) -> Value {
    let (customer, number) = (json!({"number": "+12000000000"}), json!({"number": "+15555550100"}));
    let call = json!({"id": format!("bench-{index}"), "type": "inboundPhoneCall"});
    json!({"message": {"type": "assistant-request", "call": call, "phoneNumber": number, "customer": customer}})
}

/// A further tool call of the same call.
pub(super) fn tool_call(index: usize) -> Value {
    let function = json!({"name": "book", "arguments": {"date": "2026-09-15", "time": "10:00"}});
    let calls = json!([{"id": format!("call_{index}"), "type": "function", "function": function}]);
    let call = json!({"id": "bench-tools", "customer": {"number": "+12000000000"}});
    json!({"message": {"type": "tool-calls", "call": call, "toolCallList": calls}})
}
