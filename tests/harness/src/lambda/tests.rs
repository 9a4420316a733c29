//! Tests of the host with real processes: `examples/test_function.rs`, over the real runtime.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use super::invocation::InvocationError;
use super::{FunctionSpec, Host};
use crate::local::http;

const NEVER: Duration = Duration::from_hours(1);

/// Path of the test function. `cargo test` builds the examples next to the tests.
fn binary() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.ancestors().nth(2).unwrap().join("examples/test_function")
}

fn spec(name: &str, environments: usize) -> FunctionSpec {
    FunctionSpec {
        name: name.to_owned(),
        binary: binary(),
        environments,
        memory_mb: 128,
        timeout: NEVER,
        variables: Vec::new(),
        log: PathBuf::from("/dev/null"),
    }
}

async fn host(spec: FunctionSpec) -> Host {
    Host::start(&[spec]).await.unwrap()
}

async fn invoke(host: &Host, event: Value) -> Result<Value, InvocationError> {
    let answer = host.invoke("f", Bytes::from(event.to_string())).await?;
    Ok(serde_json::from_slice(&answer).unwrap())
}

async fn pid(host: &Host) -> u64 {
    invoke(host, json!({})).await.unwrap()["pid"].as_u64().unwrap()
}

/// Listener to which waiting functions connect: each connection belongs to one function that works on its invocation.
struct Meeting(TcpListener);

impl Meeting {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn event(&self) -> Value {
        json!({"do": "wait", "for": self.0.local_addr().unwrap().to_string()})
    }

    /// Connection of the next function that waits. The function continues when it is dropped.
    async fn next(&self) -> TcpStream {
        self.0.accept().await.unwrap().0
    }
}

#[tokio::test]
async fn a_function_gets_its_event_and_its_answer_is_returned() {
    let host = host(spec("f", 1)).await;
    let answer = invoke(&host, json!({"some": ["event"]})).await.unwrap();
    assert_eq!(answer["event"], json!({"some": ["event"]}));
    assert_eq!(answer["pid"], host.pids("f")[0]);
    assert!(host.starts("f")[0].polled.is_some());
    host.stop().await;
}

#[tokio::test]
async fn each_environment_serves_one_invocation_at_a_time() {
    let (host, meeting) = (host(spec("f", 2)).await, Meeting::new().await);
    let wait = || invoke(&host, meeting.event());
    let release = async {
        let (first, second) = (meeting.next().await, meeting.next().await);
        // Both environments are busy, so the third invocation begins when one of them is free.
        drop(first);
        let third = meeting.next().await;
        drop((second, third));
    };
    let (one, two, three, ()) = tokio::join!(wait(), wait(), wait(), release);
    let mut pids = [one, two, three].map(|answer| answer.unwrap()["pid"].as_u64().unwrap()).to_vec();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 2);
    host.stop().await;
}

#[tokio::test]
async fn a_handlers_error_fails_the_invocation_and_not_the_process() {
    let host = host(spec("f", 1)).await;
    let before = pid(&host).await;
    let Err(InvocationError::Failed(error)) = invoke(&host, json!({"do": "fail"})).await else { panic!("no failure") };
    assert!(error.contains("asked to fail"), "{error}");
    assert_eq!(pid(&host).await, before);
    host.stop().await;
}

#[tokio::test]
async fn a_process_that_dies_fails_its_invocation_and_is_replaced() {
    let host = host(spec("f", 1)).await;
    let before = pid(&host).await;
    assert_eq!(invoke(&host, json!({"do": "die"})).await, Err(InvocationError::Died));
    assert_ne!(pid(&host).await, before);
    host.stop().await;
}

#[tokio::test]
async fn killing_a_function_fails_its_invocations_and_starts_new_processes() {
    let (host, meeting) = (host(spec("f", 2)).await, Meeting::new().await);
    let before = host.pids("f");
    let kill = async {
        let _running = meeting.next().await;
        host.kill("f").await;
    };
    let (killed, ()) = tokio::join!(invoke(&host, meeting.event()), kill);
    assert_eq!(killed, Err(InvocationError::Died));
    let after = pid(&host).await;
    assert!(!before.iter().any(|pid| u64::from(*pid) == after), "{after} of {before:?}");
    host.stop().await;
}

#[tokio::test]
async fn an_invocation_that_takes_too_long_ends_with_its_process() {
    let limit = Duration::from_secs(1);
    let (host, meeting) = (host(FunctionSpec { timeout: limit, ..spec("f", 1) }).await, Meeting::new().await);
    let before = host.pids("f");
    assert_eq!(invoke(&host, meeting.event()).await, Err(InvocationError::TimedOut(limit)));
    assert_ne!(pid(&host).await, u64::from(before[0]));
    host.stop().await;
}

#[tokio::test]
async fn a_failed_start_is_reported_with_its_reason() {
    let variables = vec![("FAIL_IN_INIT".to_owned(), "1".to_owned())];
    let log = std::env::temp_dir().join(format!("ringfence-test-{}.log", Uuid::new_v4()));
    let failing = FunctionSpec { variables, log: log.clone(), ..spec("f", 1) };
    let error = Host::start(&[failing]).await.err().unwrap().to_string();
    assert!(error.contains("asked to fail in the init"), "{error}");
    std::fs::remove_file(log).unwrap();

    let binary = Path::new("/nowhere/bootstrap").to_owned();
    let error = Host::start(&[FunctionSpec { binary, ..spec("f", 1) }]).await.err().unwrap().to_string();
    assert!(error.contains("/nowhere/bootstrap"), "{error}");
    let host = host(spec("f", 1)).await;
    let unknown = host.invoke("g", Bytes::new()).await;
    assert_eq!(unknown, Err(InvocationError::NoSuchFunction("g".to_owned())));
    host.stop().await;
}

#[tokio::test]
async fn the_front_is_an_http_api_with_the_templates_routes() {
    let host = host(spec("webhook", 1)).await;
    let client = http::client(NEVER).unwrap();
    let post = async |path: &str, body: &'static str| {
        let url = format!("{}{path}", host.base_url());
        client.post(url).header("content-type", "application/json").body(body).send().await.unwrap()
    };
    let answer = post("/vapi/8d1c?v=2", "{}").await;
    assert_eq!(answer.status(), 418);
    assert_eq!(answer.headers()["x-answered-by"], "test");
    let event: Value = answer.json().await.unwrap();
    assert_eq!(event["routeKey"], "POST /vapi/{org_id}");
    assert_eq!(event["pathParameters"]["org_id"], "8d1c");
    assert_eq!(event["queryStringParameters"]["v"], "2");
    assert_eq!(event["headers"]["content-type"], "application/json");
    assert_eq!(event["body"], "{}");

    assert_eq!(post("/elsewhere", "{}").await.status(), 404);
    assert_eq!(post("/vapi/8d1c", "die").await.status(), 502);
    assert_eq!(post("/vapi", "{}").await.status(), 418);
    host.stop().await;
}

#[tokio::test]
async fn a_raw_invocation_answers_as_the_function_does_or_with_an_error() {
    let host = host(spec("f", 1)).await;
    let client = http::client(NEVER).unwrap();
    let url = format!("{}/2015-03-31/functions/f/invocations", host.base_url());
    let invoke = async |event: Value| client.post(&url).json(&event).send().await.unwrap();
    let answer: Value = invoke(json!({"a": 1})).await.json().await.unwrap();
    assert_eq!(answer["event"], json!({"a": 1}));
    assert_eq!(invoke(json!({"do": "fail"})).await.status(), 502);
    host.stop().await;
}
