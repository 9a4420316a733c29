//! The deployment: the migration as CloudFormation invokes it, the health check, and the functions in the template.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use admin::{Administration, Invocation, deployment};
use lambda_http::Body;
use lambda_http::http::Response;
use native_tls::{Identity, TlsAcceptor};
use ringfence_core::health::TIMEOUTS;
use ringfence_core::{Database, DatabaseSettings, migrations};
use ringfence_egress::{EgressClient, EgressPolicy};
use ringfence_harness::testing::certificates::ServerCertificate;
use ringfence_harness::testing::database::{APP_PASSWORD, turn_to_migrate};
use ringfence_harness::testing::server::SUPERUSER_PASSWORD;
use ringfence_harness::testing::webhook::{MASTER_KEYS, masters};
use ringfence_harness::testing::{Proxy, TestCa, TestDatabase, TestQueues, TestServer};
use ringfence_identity::{KeyRing, Purpose, Ring};
use ringfence_protocol::admin::Command;
use ringfence_runtime::consumer::LAST_RECEIVE;
use ringfence_runtime::{Environment, Misconfigured};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::administration::administration;
use crate::template::{TEMPLATE, between, functions, resources};

/// A database URL without a listening server, with a password that no answer may contain.
const UNAVAILABLE: &str = "postgres://owner:hunter2@127.0.0.1:1/ringfence";

/// A fake of the S3 URL to which CloudFormation expects the response. It accepts one response.
struct FakeAnswerStore {
    url: String,
    request: JoinHandle<(String, Value)>,
}

impl FakeAnswerStore {
    /// A store that answers with an HTTP status.
    async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/answer?signature=presigned", listener.local_addr().unwrap());
        let request = tokio::spawn(async move {
            let mut stream = BufReader::new(listener.accept().await.unwrap().0);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(stream.read_line(&mut head).await.unwrap() > 0, "a whole request: {head}");
            }
            let mut body = vec![0; header(&head, "content-length").expect("a length").parse().unwrap()];
            stream.read_exact(&mut body).await.unwrap();
            let reply = format!("HTTP/1.1 {status} Any\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(reply.as_bytes()).await.unwrap();
            (head, serde_json::from_slice(&body).unwrap())
        });
        Self { url, request }
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

/// Request in CloudFormation's format.
fn request(response_url: &str, kind: &str, schema: &str, old_schema: Option<&str>) -> deployment::Request {
    let mut event = json!({
        "RequestType": kind, "ResponseURL": response_url, "StackId": "arn:stack", "RequestId": "request-1",
        "ResourceType": "Custom::Migration", "LogicalResourceId": "Migration", "ServiceToken": "arn:function",
        "ResourceProperties": {"ServiceToken": "arn:function", "SchemaVersion": schema, "DatabaseSecret": "arn:secret"},
    });
    if let Some(old_schema) = old_schema {
        event["OldResourceProperties"] = json!({"SchemaVersion": old_schema});
        event["PhysicalResourceId"] = json!("ringfence-migrations");
    }
    match serde_json::from_value(event).expect("a request") {
        Invocation::Deployment(request) => request,
        Invocation::Command(command) => panic!("taken for {command:?}"),
    }
}

/// Client without a private CA.
fn client() -> EgressClient {
    EgressClient::new(EgressPolicy::Anywhere)
}

/// Lambda's deadline, as the function has it in AWS.
fn deadline() -> Instant {
    Instant::now() + Duration::from_mins(14)
}

fn newest() -> String {
    migrations::newest_version().to_string()
}

/// Handles a request and returns the response to CloudFormation. Checks that it names the request and contains no
/// secret.
async fn carry_out(owner_url: &str, kind: &str, schema: &str, old_schema: Option<&str>) -> (String, String) {
    let store = FakeAnswerStore::start(200).await;
    let request = request(&store.url, kind, schema, old_schema);
    let administration = administration(owner_url, &TestQueues::new().await);
    deployment::respond(Ok(&administration), &client(), &request, deadline()).await.expect("told");
    let (head, answer) = store.request.await.unwrap();

    assert!(head.starts_with("PUT /answer?signature=presigned HTTP/1.1\r\n"), "{head}");
    assert_eq!(header(&head, "content-type").as_deref(), Some(""), "the link is signed for no content type");
    for (field, value) in [
        ("StackId", "arn:stack"),
        ("RequestId", "request-1"),
        ("LogicalResourceId", "Migration"),
        ("PhysicalResourceId", "ringfence-migrations"),
    ] {
        assert_eq!(answer[field], value, "{field}");
    }
    for secret in ["postgres:", "hunter2", "127.0.0.1", "presigned", MASTER_KEYS.split_once(':').unwrap().1] {
        assert!(!answer.to_string().contains(secret), "{answer}");
    }
    let rings: BTreeMap<String, String> = serde_json::from_value(answer["Data"].clone()).unwrap();
    let is_with_keys = answer["Status"] == "SUCCESS" && kind != "Delete";
    assert_eq!(rings, if is_with_keys { key_rings() } else { BTreeMap::new() });
    assert_eq!(answer["NoEcho"], true, "CloudFormation shows no attribute");
    (answer["Status"].as_str().unwrap().to_owned(), answer["Reason"].as_str().unwrap().to_owned())
}

/// Key rings that the other functions read with `!GetAtt`.
fn key_rings() -> BTreeMap<String, String> {
    let ring = |ring: Ring| {
        let keys: KeyRing = masters().key_ring(ring.purposes()).unwrap();
        (ring.attribute().to_owned(), keys.expose())
    };
    Ring::ALL.into_iter().map(ring).collect()
}

/// A7: the deployment of a new stack continues when all migrations have succeeded, and reports them. The next one
/// applies none.
#[tokio::test]
async fn a_deployment_migrates_and_succeeds() {
    let database = TestDatabase::empty().await;
    let _turn = turn_to_migrate().await;
    let url = database.url("postgres", None);
    let (status, reason) = carry_out(&url, "Create", &newest(), None).await;
    assert_eq!(status, "SUCCESS");
    assert!(reason.contains("20261122100000_tables") && reason.contains(&newest()), "{reason}");
    let findings = migrations::verify(&database.owner_settings()).await.unwrap();
    assert!(findings.iter().all(|finding| finding.ok), "{findings:?}");

    let again = carry_out(&url, "Update", &newest(), Some("20261122100500")).await;
    assert_eq!(again, ("SUCCESS".to_owned(), "applied: ".to_owned()));
}

/// A7: a migration that fails fails the deployment, which CloudFormation then rolls back. The response contains the
/// reason.
#[tokio::test]
async fn a_failing_migration_fails_the_deployment() {
    let database = TestDatabase::empty().await;
    database.superuser().await.batch_execute("CREATE TABLE call_logs (id int)").await.unwrap();
    let _turn = turn_to_migrate().await;
    let (status, reason) = carry_out(&database.url("postgres", None), "Create", &newest(), None).await;
    assert_eq!(status, "FAILED");
    assert!(reason.contains("\"call_logs\" already exists"), "{reason}");
    assert_eq!(database.text("to_regclass('organizations')").await, None, "nothing stays behind");
}

/// A7: with an unavailable database or an invalid URL, the deployment fails and reports the reason.
#[tokio::test]
async fn a_database_that_is_unavailable_fails_the_deployment() {
    for (kind, old_schema) in [("Create", None), ("Update", Some("20261122100500"))] {
        let (status, reason) = carry_out(UNAVAILABLE, kind, &newest(), old_schema).await;
        assert_eq!((status.as_str(), &reason[..6]), ("FAILED", "RF1001"), "{reason}");
    }
    let (status, reason) = carry_out("owner:hunter2@db", "Create", &newest(), None).await;
    assert_eq!((status.as_str(), reason.as_str()), ("FAILED", "the database URL cannot be read"));
}

/// A7: the data outlives the stack, and the earlier release runs on the newer schema. Deletion and rollback therefore
/// succeed while the database is unavailable, so that neither can block the stack.
#[tokio::test]
async fn deleting_and_going_back_succeed_without_a_database() {
    assert_eq!(carry_out(UNAVAILABLE, "Delete", &newest(), None).await.0, "SUCCESS");
    assert_eq!(carry_out(UNAVAILABLE, "Update", &newest(), Some("20991231000000")).await.0, "SUCCESS");
}

/// A7: deleting the stack does not connect to the database. A rollback connects once, to set the password of the
/// earlier release.
#[tokio::test]
async fn deleting_does_not_touch_the_database() {
    let database = TestDatabase::new().await;
    let wire = Proxy::start().await;
    let url = database.url("postgres", Some(&wire.address));
    assert_eq!(carry_out(&url, "Delete", &newest(), None).await.0, "SUCCESS");
    assert_eq!(wire.connections(), 0);

    let _turn = turn_to_migrate().await;
    assert_eq!(carry_out(&url, "Update", &newest(), Some("20991231000000")).await.0, "SUCCESS");
    assert_eq!(wire.connections(), 1, "going back");
    assert_eq!(carry_out(&url, "Update", &newest(), Some(&newest())).await.0, "SUCCESS");
    assert_eq!(wire.connections(), 2, "any other update");
}

/// A7: a response that is not accepted is an error of the function, so that its log contains it.
#[tokio::test]
async fn an_answer_that_is_not_taken_is_an_error() {
    let store = FakeAnswerStore::start(403).await;
    let request = request(&store.url, "Delete", &newest(), None);
    let administration = administration(UNAVAILABLE, &TestQueues::new().await);
    let error = deployment::respond(Ok(&administration), &client(), &request, deadline())
        .await
        .expect_err("not told")
        .to_string();
    assert!(!error.contains("presigned") && !error.contains("127.0.0.1"), "{error}");
}

/// The admin function's settings, with one of them replaced.
async fn administration_with(name: &str, value: &str) -> Result<Administration, Misconfigured> {
    let queues = TestQueues::new().await;
    let of_queues = queues.environment();
    let environment = Environment::from_fn(|setting| match setting {
        setting if setting == name => Some(value.to_owned()),
        "DATABASE_OWNER_URL" => Some(UNAVAILABLE.to_owned()),
        "RINGFENCE_APP_PASSWORD" => Some(APP_PASSWORD.to_owned()),
        "RINGFENCE_MASTER_KEYS" => Some(MASTER_KEYS.to_owned()),
        "PUBLIC_BASE_URL" => Some("https://ringfence.example".to_owned()),
        queue => of_queues.optional(queue),
    });
    Administration::from_environment(&environment, queues.client(), queues.s3())
}

/// Status and reason that CloudFormation receives.
async fn told(administration: Result<&Administration, &Misconfigured>, kind: &str) -> (String, String) {
    let store = FakeAnswerStore::start(200).await;
    let request = request(&store.url, kind, &newest(), None);
    deployment::respond(administration, &client(), &request, deadline()).await.expect("told");
    let answer = store.request.await.unwrap().1;
    (answer["Status"].as_str().unwrap().to_owned(), answer["Reason"].as_str().unwrap().to_owned())
}

/// E12: a function with a wrong setting fails the deployment at once, with the setting's name and without its value. A
/// deletion succeeds even then, so that the stack can be removed.
#[tokio::test]
async fn a_wrong_setting_fails_the_deployment_with_its_name() {
    for (setting, value, reason) in [
        ("RINGFENCE_MASTER_KEYS", "k1:hunter2", "RINGFENCE_MASTER_KEYS is not kid:base64[,kid:base64]"),
        ("RINGFENCE_APP_PASSWORD", "", "RINGFENCE_APP_PASSWORD is not set"),
        ("EGRESS_POLICY", "hunter2", "EGRESS_POLICY is neither public nor anywhere"),
        ("DATABASE_CA", "secret", "DATABASE_CA_PEM is not set"),
    ] {
        let administration = administration_with(setting, value).await;
        assert_eq!(told(administration.as_ref(), "Create").await, ("FAILED".to_owned(), reason.to_owned()));
        assert_eq!(told(administration.as_ref(), "Update").await.0, "FAILED");
        assert_eq!(told(administration.as_ref(), "Delete").await.0, "SUCCESS");
    }
}

/// E12: a migration that does not end before Lambda stops the function is reported as failed.
#[tokio::test]
async fn a_migration_that_takes_too_long_fails_the_deployment() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://owner:hunter2@{}/ringfence", silent.local_addr().unwrap());
    let administration = administration(&url, &TestQueues::new().await);
    let store = FakeAnswerStore::start(200).await;
    let request = request(&store.url, "Update", &newest(), None);
    let soon = Instant::now() + Duration::from_millis(20_100);
    deployment::respond(Ok(&administration), &client(), &request, soon).await.expect("told");
    let answer = store.request.await.unwrap().1;
    assert_eq!(answer["Status"], "FAILED");
    assert_eq!(answer["Reason"], "the migration did not end before the timeout of the function");
}

/// E12: the response reaches CloudFormation if the database has a CA of its own, which vouches for nothing else. Only
/// the bundle of public CAs decides about the response.
#[tokio::test]
async fn the_response_is_verified_by_the_public_cas_whatever_the_databases_ca_is() {
    let (public, of_database) = (TestCa::new(), TestCa::new());
    let settings = administration_with("DATABASE_CA_PEM", &of_database.pem()).await;
    let administration = settings.as_ref().map_err(ToString::to_string).unwrap();
    for (bundle, is_told) in [(public.pem(), true), (of_database.pem(), false)] {
        let server = tls_server(&public.vouch_for("localhost"));
        let request = request(&server.url, "Delete", &newest(), None);
        let client = EgressClient::with_bundle(EgressPolicy::Anywhere, bundle);
        let sent = deployment::respond(Ok(administration), &client, &request, deadline()).await;
        assert_eq!(sent.is_ok(), is_told);
        drop(client);
        let head = server.request.join().unwrap();
        assert_eq!(head.is_some_and(|head| head.starts_with("PUT /answer HTTP/1.1\r\n")), is_told);
    }
}

/// A server that accepts one connection over TLS and answers 200. Its thread returns the request, or None if the client
/// refused the certificate.
struct TlsServer {
    url: String,
    request: std::thread::JoinHandle<Option<String>>,
}

fn tls_server(certificate: &ServerCertificate) -> TlsServer {
    let identity = Identity::from_pkcs8(certificate.certificate.as_bytes(), certificate.key.as_bytes()).unwrap();
    let acceptor = TlsAcceptor::new(identity).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/answer", listener.local_addr().unwrap().port());
    let request = std::thread::spawn(move || {
        let mut stream = acceptor.accept(listener.accept().unwrap().0).ok()?;
        let mut read = Vec::new();
        let mut buffer = [0; 4096];
        while !read.ends_with(b"}") {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "a whole request");
            read.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        Some(String::from_utf8(read).unwrap())
    });
    TlsServer { url, request }
}

/// E12: a deployment with another version of the database secret sets the new password for the application's role, also
/// if there is nothing to migrate. The functions get the same version.
#[tokio::test]
async fn another_password_is_set_by_a_deployment_that_migrates_nothing() {
    let server = TestServer::start();
    let owner = server.url("postgres", SUPERUSER_PASSWORD, "postgres");
    for (password, old_schema) in [("first", None), ("second", Some(newest()))] {
        let kind = if old_schema.is_some() { "Update" } else { "Create" };
        let queues = TestQueues::new().await;
        let of_queues = queues.environment();
        let environment = Environment::from_fn(|setting| match setting {
            "DATABASE_OWNER_URL" => Some(owner.clone()),
            "RINGFENCE_APP_PASSWORD" => Some(password.to_owned()),
            "RINGFENCE_MASTER_KEYS" => Some(MASTER_KEYS.to_owned()),
            "PUBLIC_BASE_URL" => Some("https://ringfence.example".to_owned()),
            queue => of_queues.optional(queue),
        });
        let administration = Administration::from_environment(&environment, queues.client(), queues.s3()).ok().unwrap();
        let store = FakeAnswerStore::start(200).await;
        let request = request(&store.url, kind, &newest(), old_schema.as_deref());
        deployment::respond(Ok(&administration), &client(), &request, deadline()).await.expect("told");
        assert_eq!(store.request.await.unwrap().1["Status"], "SUCCESS");
        let url = |password| server.url("ringfence_app", password, "postgres");
        assert_eq!(check_at(&url(password)).await.status(), 200);
        assert_eq!(check_at(&url("another")).await.status(), 503);
    }
}

fn json_of(response: &Response<Body>) -> Value {
    serde_json::from_slice(response.body()).expect("JSON")
}

async fn check_at(url: &str) -> Response<Body> {
    let settings = DatabaseSettings { timeouts: TIMEOUTS, ..DatabaseSettings::new(url, None) };
    health::check(&Database::new(&settings).unwrap()).await
}

/// A7: a database that answers is healthy, and the check reports its size.
#[tokio::test]
async fn a_database_that_answers_is_healthy() {
    let database = TestDatabase::new().await;
    let response = health::check(&database.app()).await;
    assert_eq!(response.status(), 200);
    let body = json_of(&response);
    let size: i64 =
        database.text("round(pg_database_size(current_database()) / 1048576.0)").await.unwrap().parse().unwrap();
    assert!(size > 0);
    assert_eq!(body["status"], "ok");
    assert!((body["database_size_mb"].as_i64().unwrap() - size).abs() <= 1, "{body}");
}

/// A7: a database that refuses connections is 503 with the failure's code and without parts of the URL.
#[tokio::test]
async fn a_database_that_refuses_is_unhealthy() {
    let response = check_at(UNAVAILABLE).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(json_of(&response)["code"], "RF1001");
    assert!(!json_of(&response).to_string().contains("hunter2"));
}

/// A7: a database that accepts and never answers, or stops answering, is 503, too, and the check returns.
#[tokio::test]
async fn a_database_without_an_answer_is_unhealthy() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://ringfence_app:app@{}/ringfence", silent.local_addr().unwrap());
    let response = check_at(&url).await;
    assert_eq!((response.status().as_u16(), &json_of(&response)["code"]), (503, &json!("RF1002")));

    let database = TestDatabase::new().await;
    let wire = Proxy::start().await;
    let warm = database.app_with(Some(&wire.address), TIMEOUTS);
    assert_eq!(health::check(&warm).await.status(), 200);
    wire.fall_silent(true);
    let response = health::check(&warm).await;
    assert_eq!((response.status().as_u16(), &json_of(&response)["code"]), (503, &json!("RF1002")));

    // The connection that did not answer is not used again.
    wire.fall_silent(false);
    assert_eq!(health::check(&warm).await.status(), 200);
}

const WORKSPACE: &str = include_str!("../../Cargo.toml");
const SECURITY: &str = include_str!("../../docs/SECURITY.md");

/// C3, C4: all crates in `functions/` are deployed, and all deployed functions exist, under the same name.
#[test]
fn every_function_is_deployed_and_every_deployed_function_exists() {
    let members = between(WORKSPACE, "members = [", "]");
    let members: BTreeSet<_> =
        members.lines().filter_map(|line| line.trim().strip_prefix("\"functions/")?.strip_suffix("\",")).collect();
    let functions = functions();
    let folders: BTreeSet<_> = functions.values().map(|text| between(text, "CodeUri: functions/", "\n")).collect();
    assert_eq!(folders, members);
    for (name, text) in &functions {
        // The admin crate has a second binary.
        let folder = if name == "console-commands" { "admin" } else { name };
        assert_eq!(between(text, "CodeUri: functions/", "\n"), folder);
        assert_eq!(between(text, "FunctionName: !Sub ${AWS::StackName}-", "\n"), name);
    }
}

/// D1, C4: the visibility timeout of each retry queue is six times the timeout of its function, as Lambda recommends,
/// and its maximum receive count is the receive that the function treats as the last.
#[test]
fn every_retry_queue_fits_its_function() {
    let resources = resources();
    let mappings: Vec<_> =
        resources.values().filter(|text| text.contains("Type: AWS::Lambda::EventSourceMapping\n")).collect();
    assert!(mappings.len() >= 4);
    for mapping in mappings {
        let queue = &resources[between(mapping, "EventSourceArn: !GetAtt ", ".Arn")];
        let function = &resources[between(mapping, "FunctionName: !GetAtt ", ".Arn")];
        let timeout: u32 = between(function, "      Timeout: ", "\n").parse().unwrap();
        let visibility: u32 = between(queue, "VisibilityTimeout: ", " ").parse().unwrap();
        assert_eq!(visibility, 6 * timeout, "{queue}");
        // A late push has no value.
        assert!(queue.contains(&format!("maxReceiveCount: {LAST_RECEIVE}}}")), "{queue}");
        assert!(mapping.contains("FunctionResponseTypes: [ReportBatchItemFailures]"), "{mapping}");
    }
}

/// A7, C4: no function's code is updated before the migration has succeeded.
#[test]
fn every_function_but_admin_waits_for_the_migration() {
    for (name, text) in functions() {
        // CloudFormation creates a resource after the resources whose attributes it reads.
        let waits = text.contains("    DependsOn: Migration\n") || text.contains("!GetAtt Migration.");
        assert_eq!(waits, name != "admin", "{name}");
    }
    assert!(resources()["Migration"].contains("ServiceToken: !GetAtt AdminFunction.Arn"));
}

/// B7: the console is reachable from the internet, so it may invoke only the function that handles the commands of its
/// pages.
#[test]
fn the_console_may_invoke_only_the_restricted_function() {
    let resources = resources();
    let grants: Vec<_> =
        resources["ConsoleRole"].lines().filter(|line| line.contains("lambda:")).map(str::trim).collect();
    assert_eq!(
        grants,
        ["- {Effect: Allow, Action: lambda:InvokeFunction, Resource: !GetAtt ConsoleCommandsFunction.Arn}"]
    );
    for wide in ["Action: \"*\"", "NotAction", "NotResource", "Resource: \"*\"", "Action: '*'", "sts:AssumeRole]"] {
        assert!(!resources["ConsoleRole"].contains(wide), "{wide}");
    }
    assert!(resources["ConsoleFunction"].contains("Role: !GetAtt ConsoleRole.Arn"));
    let invokers: Vec<_> =
        resources.iter().filter(|(_, text)| text.contains("AdminFunction")).map(|(name, _)| *name).collect();
    // No role or route may invoke the admin function. Only a schedule and the deployment do.
    assert_eq!(invokers, ["AdminFunction", "ContinueOperationsPermission", "ContinueOperationsSchedule", "Migration"]);
    let schedule = between(&resources["ContinueOperationsSchedule"], "Input: '", "'");
    assert_eq!(serde_json::from_str::<Command>(schedule).unwrap(), Command::ContinueOperations {});
}

/// Deployed functions by name, with the key ring of each that has keys.
const RINGS: [(&str, Ring); 8] = [
    ("webhook", Ring::Webhook),
    ("assistant-request", Ring::Interactive),
    ("tool-calls", Ring::Interactive),
    ("live", Ring::Live),
    ("console", Ring::Console),
    ("console-commands", Ring::ConsoleCommands),
    ("recording-upload", Ring::RecordingUpload),
    ("maintenance", Ring::Maintenance),
];

/// D5: only admin has the master keys. Each other function reads its own key ring, or none.
#[test]
fn each_function_holds_only_the_keys_that_it_needs() {
    let resources = resources();
    for text in resources.values().filter(|text| text.contains("Type: AWS::Serverless::Function\n")) {
        let name = between(text, "FunctionName: !Sub ${AWS::StackName}-", "\n");
        assert_eq!(text.contains("RINGFENCE_MASTER_KEYS"), name == "admin", "{name}");
        let expected = RINGS.iter().find(|(function, _)| *function == name).map(|(_, ring)| ring.attribute());
        let read = text.split_once("RINGFENCE_KEYS: ").map(|(_, rest)| rest.lines().next().unwrap());
        assert_eq!(read, expected.map(|attribute| format!("!GetAtt Migration.{attribute}")).as_deref(), "{name}");
    }
    assert!(!TEMPLATE.split_once("\nResources:\n").unwrap().0.contains("RINGFENCE_"), "the functions' common settings");

    let declared: BTreeMap<_, _> = resources["Migration"]
        .split_once("      KeyRings:\n")
        .expect("the key rings")
        .1
        .lines()
        .map_while(|line| line.strip_prefix("        ")?.split_once(": "))
        .collect();
    let names = |ring: Ring| ring.purposes().iter().map(|purpose| purpose.as_str()).collect::<Vec<_>>().join(" ");
    for ring in Ring::ALL {
        assert_eq!(declared.get(ring.attribute()).copied(), Some(names(ring).as_str()), "{ring:?}");
    }
    assert_eq!(declared.len(), Ring::ALL.len());
    assert!(resources["Migration"].contains("RingfenceSecret: !Sub ${RingfenceSecretArn}:${RingfenceSecretVersion}\n"));
}

/// D5: docs/SECURITY.md names the functions that hold the key of each purpose.
#[test]
fn the_documented_holders_of_each_key_are_those_of_the_key_rings() {
    for purpose in Purpose::ALL {
        let rows = SECURITY.lines().filter_map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            (cells.get(1) == Some(&format!("`{purpose}`").as_str())).then_some(cells)
        });
        let rows: Vec<_> = rows.collect();
        assert_eq!(rows.len(), 1, "rows of {purpose} in docs/SECURITY.md");
        let documented: BTreeSet<_> = rows[0].last().unwrap().split(", ").collect();
        let holders =
            RINGS.iter().filter(|(_, ring)| ring.purposes().contains(&purpose)).map(|(function, _)| *function);
        assert_eq!(documented, holders.collect(), "{purpose}");
    }
}

/// C5: `cargo lambda watch` serves the same functions at the same paths as API Gateway.
#[test]
fn the_local_routes_are_those_of_the_template() {
    let resources = resources();
    let is_http =
        |text: &&String| text.contains("Type: AWS::ApiGatewayV2::Route\n") && text.contains("ApiId: !Ref HttpApi\n");
    let routes = resources.values().filter(is_http);
    let deployed: BTreeSet<_> = routes
        .map(|route| {
            let integration = &resources[between(route, "Target: !Sub integrations/${", "}")];
            // A function, or its alias where environments are provisioned.
            let uri = between(integration, "IntegrationUri: !", "\n");
            let name = uri.rsplit_once("GetAtt ").expect("a function").1.split('.').next().unwrap();
            let function = &resources[name];
            format!("{} -> {}", between(route, "RouteKey: ", "\n"), between(function, "CodeUri: functions/", "\n"))
        })
        .collect();

    let watched = between(WORKSPACE, "[workspace.metadata.lambda.watch.router]", "\n[");
    let local: BTreeSet<_> = watched
        .lines()
        .flat_map(|line| {
            // The wildcard for several segments has two notations.
            let path = between(line, "\"", "\"").replace("{*page}", "{page+}");
            // API Gateway has one route for all paths with a trailing slash.
            let path = if path.ends_with('/') { "/vapi/{path+}".to_owned() } else { path };
            let methods = line.split("method = \"").skip(1);
            methods.map(move |rest| {
                let function = between(rest, "function = \"", "\"");
                format!("{} {path} -> {function}", rest.split('"').next().unwrap())
            })
        })
        .collect();
    assert_eq!(local, deployed);
    assert_eq!(local.len(), 10);
}
