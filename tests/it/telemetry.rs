//! B4 and invariant 5: failures are reported to the log, to CloudWatch and to Sentry, without any personal data or
//! secret.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_core::{Database, Failure, Outcome};
use ringfence_egress::{EgressClient, EgressPolicy};
use ringfence_harness::testing::endpoint::Manner;
use ringfence_harness::testing::{
    Call, TestDatabase, TestEndpoint, TestQueues, TestWebhook, sample_bytes, sample_names,
};
use ringfence_protocol::Delivery;
use ringfence_protocol::maintenance::Job;
use ringfence_runtime::pipeline::EventStore;
use ringfence_runtime::sentry::{FailedTransaction, Reporter};
use ringfence_vapi::{FailureCode, Function, OrgId};
use serde_json::{Value, json};
use strum::IntoEnumIterator as _;
use tokio::sync::OnceCell;

use crate::recordings::Stage;

/// Test that runs in a separate process, so that all output of a function's process can be read.
const SPEAKER: &str = "telemetry::a_webhook_function_logs";

fn dsn(endpoint: &TestEndpoint) -> String {
    let host = endpoint.url.trim_start_matches("http://").trim_end_matches("/hook");
    format!("http://public@{host}/42")
}

/// Events that Sentry received.
fn reports(endpoint: &TestEndpoint) -> Vec<Value> {
    let requests = endpoint.requests();
    requests.iter().map(|request| serde_json::from_str(request.text.lines().nth(2).unwrap()).unwrap()).collect()
}

fn failed(org: OrgId, code: FailureCode, reporter: &Reporter) {
    let failure = Failure { code, sqlstate: Some("23514".to_owned()), constraint: Some("nobody_ends".to_owned()) };
    reporter.failed(&FailedTransaction {
        org_id: Some(org),
        call_id: "call-1",
        event_key: "status-update:call-1:ended:1",
        event_type: "status-update",
        failure: &failure,
        trace_id: Some("1-2-3"),
    });
}

fn reporter(sentry: &TestEndpoint, flush_timeout: Duration) -> Reporter {
    let client = EgressClient::new(EgressPolicy::Anywhere);
    Reporter::new(dsn(sentry).parse().unwrap(), client, Some("webhook".to_owned()), flush_timeout)
}

/// B4: Sentry receives ids and codes, and at most a few events of one kind per minute.
#[tokio::test]
async fn sentry_receives_ids_and_codes() {
    let sentry = TestEndpoint::start(Manner::Answers(json!({}))).await;
    let reporter = reporter(&sentry, Duration::from_mins(1));
    let org = OrgId::from(uuid::Uuid::new_v4());
    reporter.flush().await;
    assert!(sentry.requests().is_empty(), "nothing has failed");
    for _ in 0..10 {
        failed(org, FailureCode::ConstraintViolated, &reporter);
    }
    reporter.panicked("src/lib.rs:7:9");
    reporter.flush().await;
    let reports = reports(&sentry);
    assert_eq!(reports.len(), 4, "{reports:?}");
    let mut event = reports[0].clone();
    for changing in ["event_id", "timestamp"] {
        assert!(event.as_object_mut().unwrap().remove(changing).is_some());
    }
    assert_eq!(
        event,
        json!({
            "logger": "ringfence", "message": "RF2001: Constraint violated", "transaction": "webhook",
            "fingerprint": ["failed", "RF2001", "status-update"], "release": format!("ringfence/{}", env!("CARGO_PKG_VERSION")),
            "tags": {"org.id": org.to_string(), "call.id": "call-1", "event.key": "status-update:call-1:ended:1",
                "event.type": "status-update", "failure.code": "RF2001", "db.sqlstate": "23514",
                "db.constraint": "nobody_ends", "trace.id": "1-2-3"},
        })
    );
    assert_eq!(reports[3]["tags"], json!({"panic.location": "src/lib.rs:7:9"}));
    let authorization = sentry.requests()[0].headers["x-sentry-auth"].to_str().unwrap().to_owned();
    assert!(authorization.contains("sentry_key=public"), "{authorization}");
}

/// B4: a Sentry that hangs, refuses or is unavailable does not delay the function, and unsent events are not retained
/// without a limit.
#[tokio::test]
async fn a_hanging_sentry_delays_nothing() {
    let sentry = TestEndpoint::start(Manner::Hangs).await;
    let reporter = reporter(&sentry, Duration::from_millis(500));
    let org = OrgId::from(uuid::Uuid::new_v4());
    failed(org, FailureCode::ConstraintViolated, &reporter);
    // Without a limit it would hang.
    tokio::time::timeout(Duration::from_mins(1), reporter.flush()).await.unwrap();
    sentry.behave(Manner::Answers(json!({})));
    let before = sentry.requests().len();
    reporter.flush().await;
    assert_eq!(sentry.requests().len(), before, "unsent events are dropped");
    failed(org, FailureCode::StatementRefused, &reporter);
    reporter.flush().await;
    assert_eq!(reports(&sentry).last().unwrap()["tags"]["failure.code"], "RF2002");
}

/// Personal or secret values of a sample, at any depth.
fn needles(key: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| needles(key, value, found)),
        Value::Array(values) => values.iter().for_each(|value| needles(key, value, found)),
        Value::String(text) => {
            let is_telling = matches!(
                key,
                "number"
                    | "phone"
                    | "phoneNumber"
                    | "callerId"
                    | "externalId"
                    | "first_name"
                    | "job"
                    | "email"
                    | "transcript"
                    | "message"
                    | "content"
                    | "input"
                    | "text"
                    | "summary"
                    | "note"
                    | "arguments"
                    | "secret"
                    | "secretKey"
                    | "twilioAuthToken"
                    | "apiKey"
                    | "token"
                    | "result"
                    | "firstMessage"
                    | "visitorId"
                    | "leadId"
            );
            let is_link = text.starts_with("http") && (text.contains("X-Amz") || text.contains("recording"));
            if is_telling || is_link {
                let lines =
                    text.lines().map(|line| line.trim_start_matches("AI: ").trim_start_matches("User: ").trim());
                found.extend(lines.filter(|line| line.len() >= 4 && *line != "[REDACTED]").map(str::to_owned));
            }
        }
        _ => {}
    }
}

/// B4, invariant 5: for all samples, applied and failed, at the most verbose log level, no output contains personal
/// data or a secret.
#[tokio::test]
async fn no_personal_data_is_logged() {
    let mut found = BTreeSet::from(["Sam Example".to_owned(), "Dana Example".to_owned()]);
    for name in sample_names() {
        needles("", &serde_json::from_slice(&sample_bytes(&name)).unwrap(), &mut found);
    }
    assert!(
        found.len() > 100 && found.contains("+15555550142") && found.contains("not-a-real-tool-secret"),
        "{found:?}"
    );

    let (said, told) = spoken().await;
    // The output contains applied and failed events, refusals, and metrics.
    for expected in [
        "event handled",
        "event failed",
        "webhook refused",
        "CloudWatchMetrics",
        "Latency",
        "RetryAge",
        "panicked",
        "trace.id",
    ] {
        assert!(said.contains(expected), "nothing said {expected:?}");
    }
    assert!(told.iter().any(|event| event["tags"]["db.constraint"] == "nobody_calls"), "{told:?}");
    assert!(told.iter().any(|event| event["tags"]["panic.location"].is_string()), "{told:?}");
    for event in told {
        assert!(
            ["request", "user", "server_name", "extra", "breadcrumbs"].iter().all(|field| event.get(field).is_none())
        );
    }
    let all = format!("{said}{told:?}");
    let leaked: Vec<_> = found.iter().filter(|needle| all.contains(needle.as_str())).collect();
    assert!(leaked.is_empty(), "{leaked:?}");
}

/// C4: the metric of each alarm changes when the alarm's condition occurs.
#[tokio::test]
async fn the_metric_of_each_alarm_moves() {
    let template = std::fs::read_to_string(format!("{}/../template.yaml", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let watched: BTreeSet<&str> = template
        .split("Namespace: !Ref AWS::StackName\n      MetricName: ")
        .skip(1)
        .filter_map(|after| after.lines().next())
        .collect();
    assert!(watched.len() >= 8, "{watched:?}");
    let (said, _) = spoken().await;
    let lines: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for metric in watched {
        let moved = lines.iter().any(|line| {
            let defined = &line["_aws"]["CloudWatchMetrics"][0]["Metrics"];
            let is_defined = defined.as_array().is_some_and(|all| all.iter().any(|one| one["Name"] == metric));
            is_defined && line[metric].as_u64().is_some_and(|value| value > 0)
        });
        assert!(moved, "{metric}");
    }
}

/// All output of the process below, and the events that Sentry received from it.
async fn spoken() -> &'static (String, Vec<Value>) {
    static SPOKEN: OnceCell<(String, Vec<Value>)> = OnceCell::const_new();
    SPOKEN.get_or_init(speak).await
}

async fn speak() -> (String, Vec<Value>) {
    let sentry = TestEndpoint::start(Manner::Answers(json!({}))).await;
    let mut speaker = tokio::process::Command::new(std::env::current_exe().unwrap());
    speaker
        .args(["--exact", SPEAKER, "--ignored", "--nocapture"])
        .env("SENTRY_DSN", dsn(&sentry))
        .env("AWS_LAMBDA_FUNCTION_NAME", "webhook")
        .env(
            "RUST_LOG",
            "trace,hyper=info,hyper_util=info,h2=info,aws=info,aws_smithy=info,aws_runtime=info,aws_config=info",
        )
        .stderr(Stdio::piped());
    let output = speaker.output().await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let told = reports(&sentry);
    (said, told)
}

/// Not a test by itself: output of a webhook function, its consumers and maintenance for all samples and all kinds of
/// failures, for the tests above.
#[tokio::test]
#[ignore = "run by the tests above, in a process of its own"]
async fn a_webhook_function_logs() {
    ringfence_runtime::telemetry::start();
    let (database, queues) = (TestDatabase::new().await, TestQueues::new().await);
    let app = database.app();
    let webhook = TestWebhook::new(Arc::clone(&app), &queues);
    let post_all = async || {
        for name in sample_names() {
            // One org each, since some samples name the same call.
            let org = database.org(&name).await;
            webhook.post_bytes(org, sample_bytes(&name)).await;
        }
    };
    post_all().await;
    database
        .superuser()
        .await
        .batch_execute("ALTER TABLE calls ADD CONSTRAINT nobody_calls CHECK (false) NOT VALID")
        .await
        .unwrap();
    post_all().await;
    let org = database.org("Acme").await;
    assert_eq!(
        webhook.send(Some(&org.to_string()), &[("x-vapi-secret", "somebody's secret")], b"{}".to_vec()).await.status,
        401
    );
    for function in Function::iter() {
        let consumer = queues.consumer_of(function, Panicking(Arc::clone(&app)), Arc::clone(&app));
        consumer.consume(queues.take(function).await, Instant::now() + Duration::from_mins(5)).await;
    }
    let late = Call::default();
    queues
        .put(Function::CallEnded, &sealed(&ringfence_harness::testing::call::delivery(org, &late.status("ended", 0))))
        .await;
    let consumer = queues.consumer(Function::CallEnded, Arc::clone(&app));
    consumer.consume(queues.take(Function::CallEnded).await, Instant::now() + Duration::from_mins(5)).await;

    assert_eq!(webhook.post_platform(&Call::default().status("in-progress", 0)).await.status, 200, "it names nobody");
    let unavailable = TestWebhook::new(database.app_at(Some("127.0.0.1:1")), &TestQueues::unavailable().await);
    assert_eq!(unavailable.post(org, &late.status("ended", 0)).await.status, 503);
    let stage = Stage::new().await;
    crate::maintenance::go_wrong(&stage).await;
    crate::reconciliation::stuck(&stage, stage.org).await;
    for job in [Job::Watch, Job::Reconcile] {
        stage.maintain(job, false).await;
    }
}

/// A store that panics with the content of an event.
struct Panicking(Arc<Database>);

impl EventStore for Panicking {
    fn database(&self) -> &Database {
        &self.0
    }

    async fn apply(&self, delivery: &Delivery) -> Result<Outcome, Failure> {
        panic!("{}", serde_json::to_string(&delivery.event).unwrap())
    }
}

fn sealed(delivery: &Delivery) -> String {
    match ringfence_runtime::envelope::seal(delivery).unwrap() {
        ringfence_runtime::envelope::Sealed::Fits(message) => message,
        ringfence_runtime::envelope::Sealed::Oversize(_) => panic!("it is small"),
    }
}

/// One trace connects the webhook function, the queue and the consumer. A message without a trace is accepted, too.
#[tokio::test]
async fn a_trace_is_propagated_with_its_event() {
    let (database, queues) = (TestDatabase::new().await, TestQueues::new().await);
    let org = database.org("Acme").await;
    let webhook = TestWebhook::new(database.app_at(Some("127.0.0.1:1")), &queues);
    assert_eq!(webhook.post(org, &Call::default().status("ended", 0)).await.status, 200);
    let batch = queues.take(Function::CallEnded).await;
    let mut message: Value = serde_json::from_str(batch.records[0].body.as_deref().unwrap()).unwrap();
    let trace = message["delivery"]["trace_id"].as_str().unwrap().to_owned();
    assert!(trace.len() >= 32, "{trace}");
    assert!(message["delivery"]["event"].to_string().find(&trace).is_none(), "it is no fact of the event");
    message["delivery"].as_object_mut().unwrap().remove("trace_id");
    let ringfence_runtime::envelope::Opened::Event(opened) =
        ringfence_runtime::envelope::open(&message.to_string()).unwrap()
    else {
        panic!("an event")
    };
    assert_eq!(opened.trace_id, None);
}
