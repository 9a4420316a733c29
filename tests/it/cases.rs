//! Cases from the field: bodies as other receivers of Vapi's webhooks met them, and what must become of each. A case is a
//! file in `cases/` with commands (`setup`), requests, commands after them (`then`) and checks.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use ringfence_harness::testing::endpoint::Manner;
use ringfence_harness::testing::webhook::{Reply, masters, org_key};
use ringfence_harness::testing::{TestDatabase, TestEndpoint, TestQueues, TestWebhook};
use ringfence_identity::Subject;
use ringfence_protocol::admin::{Command, Erasure, NewAgent, Reply as Answer, Target, Tool, ToolKind};
use ringfence_vapi::OrgId;
use serde::Deserialize;
use serde_json::Value;
use tokio_postgres::SimpleQueryMessage;

use crate::administration::administration;

/// E2: a call that has not ended, and a call whose report has no time, have no duration.
#[tokio::test]
async fn unknown_duration_is_not_zero() {
    run("E2", "01-unknown-duration-is-not-zero").await;
}

/// E6: a number may be written as text.
#[tokio::test]
async fn duration_as_text() {
    run("E6", "02-duration-as-text").await;
}

/// E4: numbers keep every digit.
#[tokio::test]
async fn big_numbers_keep_their_digits() {
    run("E4", "05-big-numbers-keep-their-digits").await;
}

/// E1: the same id with other arguments is another tool call.
#[tokio::test]
async fn tool_id_comes_again_in_the_next_turn() {
    run("E1", "07-tool-id-comes-again-in-the-next-turn").await;
}

/// E1: the same id with another tool is another tool call.
#[tokio::test]
async fn tool_id_comes_again_for_another_tool() {
    run("E1", "08-tool-id-comes-again-for-another-tool").await;
}

/// E1: the same id in another chat is another tool call.
#[tokio::test]
async fn two_chats_one_tool_id() {
    run("E1", "11-two-chats-one-tool-id").await;
}

/// E6: a chat at the platform URL belongs to the org of its assistant.
#[tokio::test]
async fn chat_on_the_platform_url() {
    run("E6", "12-chat-on-the-platform-url").await;
}

/// E6: the id of a tool call may have another name.
#[tokio::test]
async fn tool_call_id_under_another_name() {
    run("E6", "14-tool-call-id-under-another-name").await;
}

/// E4: structured outputs are kept wherever they stand.
#[tokio::test]
async fn structured_outputs_beside_analysis() {
    run("E4", "16-structured-outputs-beside-analysis").await;
}

/// E4: `structuredDataMulti` is kept.
#[tokio::test]
async fn structured_data_multi() {
    run("E4", "18-structured-data-multi").await;
}

/// E2: an empty transcript is no transcript.
#[tokio::test]
async fn a_final_transcript_without_words() {
    run("E2", "23-a-final-transcript-without-words").await;
}

/// E4: the org's side of a call may be a SIP URI.
#[tokio::test]
async fn called_at_a_sip_uri() {
    run("E4", "25-called-at-a-sip-uri").await;
}

/// E2: a part of a number gives way to the number.
#[tokio::test]
async fn half_a_number_first() {
    run("E2", "27-half-a-number-first").await;
}

/// E2: a part of a number does not replace the number.
#[tokio::test]
async fn half_a_number_last() {
    run("E2", "28-half-a-number-last").await;
}

/// E6: a byte order mark is ignored.
#[tokio::test]
async fn byte_order_mark() {
    run("E6", "45-byte-order-mark").await;
}

/// E4: an empty list of messages hides no other.
#[tokio::test]
async fn empty_messages_and_a_formatted_list() {
    run("E4", "50-empty-messages-and-a-formatted-list").await;
}

/// E3: a number in any event of a call finds the call.
#[tokio::test]
async fn erase_a_number_that_only_words_name() {
    run("E3", "52-erase-a-number-that-only-words-name").await;
}

/// E3: each number that a call had finds the call.
#[tokio::test]
async fn erase_a_number_that_the_call_had_at_first() {
    run("E3", "53-erase-a-number-that-the-call-had-at-first").await;
}

/// Each file has a test.
#[test]
fn each_case_has_a_test() {
    let source = include_str!("cases.rs");
    for entry in fs::read_dir(folder()).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let name = file.strip_suffix(".json").unwrap();
        assert!(source.contains(&format!("\"{name}\"")), "{name} has no test");
    }
}

/// A case file.
#[derive(Deserialize)]
struct Case {
    /// Why the outcome matters.
    why: String,
    /// Commands of the operator's tool before the requests.
    #[serde(default)]
    setup: Vec<String>,
    requests: Vec<Request>,
    /// Commands after the requests.
    #[serde(default)]
    then: Vec<String>,
    /// The outcome in words.
    expect: String,
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Request {
    path: String,
    headers: BTreeMap<String, String>,
    body: Value,
    /// `"@@12@@"` in the body stands for the number 12, which may have more digits than a JSON library keeps.
    #[serde(default)]
    raw_numbers: bool,
    /// A byte order mark precedes the body.
    #[serde(default)]
    bom: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Check {
    /// The statuses of the requests.
    Status { status: Vec<u16> },
    /// The only row of a query, its columns separated by `|`. A boolean is `t` or `f`.
    Sql { sql: String, is: String },
    /// How many requests the endpoint received.
    Hits { hits: usize },
    /// The body of a request to the endpoint.
    Hit {
        hit: usize,
        #[serde(flatten)]
        text: Text,
    },
    /// The answer to a request.
    Answer {
        answer: usize,
        #[serde(flatten)]
        text: Text,
    },
    /// How many calls a command in `then` found.
    Erasure { then: usize, calls: u64 },
}

#[derive(Deserialize)]
struct Text {
    contains: Option<String>,
    lacks: Option<String>,
}

impl Text {
    fn check(&self, text: Option<&str>) -> Result<(), String> {
        let text = text.ok_or("there is no such text")?;
        let contains = self.contains.as_ref().is_none_or(|part| text.contains(part));
        let lacks = self.lacks.as_ref().is_none_or(|part| !text.contains(part));
        if contains && lacks {
            Ok(())
        } else {
            Err(format!("contains {:?}, lacks {:?}: {text}", self.contains, self.lacks))
        }
    }
}

/// Runs a case. `requirement` is what it proves.
async fn run(requirement: &str, name: &str) {
    let text = fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    // Boxed, because the futures of the set-up and of the webhook function are large.
    let stage = Box::pin(Stage::new()).await;
    let case: Case = serde_json::from_str(&stage.fill(&text)).unwrap();
    let result = Box::pin(stage.play(&case)).await;
    let Case { why, expect, .. } = case;
    assert_eq!(result, Ok(()), "{requirement}, case {name}\nexpected: {expect}\nbecause: {why}");
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/it/cases"))
}

/// A database with one org, queues, and an endpoint for the org's tools.
struct Stage {
    database: TestDatabase,
    queues: TestQueues,
    webhook: TestWebhook,
    endpoint: TestEndpoint,
    org: OrgId,
}

impl Stage {
    async fn new() -> Self {
        let (database, queues) = (TestDatabase::new().await, TestQueues::new().await);
        let webhook = TestWebhook::new(database.app(), &queues);
        let org = database.org("Acme").await;
        Self { database, queues, webhook, endpoint: TestEndpoint::start(Manner::Echoes).await, org }
    }

    /// Fills the placeholders of a case. Each id is new.
    fn fill(&self, text: &str) -> String {
        let mut text = text
            .replace("{ORG}", &self.org.to_string())
            .replace("{KEY}", &org_key(self.org, 1))
            .replace("{PLATFORM_KEY}", masters().mint(Subject::Platform, 1).expose())
            .replace("{TOOLS}", &self.endpoint.url);
        for name in ["CALL", "CALL2", "CHAT", "CHAT2", "ASSISTANT", "RND"] {
            text = text.replace(&format!("{{{name}}}"), &uuid::Uuid::new_v4().to_string());
        }
        text
    }

    async fn play(&self, case: &Case) -> Result<(), String> {
        for line in &case.setup {
            self.perform(line).await;
        }
        let mut replies = Vec::new();
        for request in &case.requests {
            replies.push(self.send(request).await);
        }
        let mut erasures = Vec::new();
        for line in &case.then {
            match self.perform(line).await {
                Answer::Erased(erasure) => erasures.push(erasure),
                other => panic!("{line}: {other:?}"),
            }
        }
        for check in &case.checks {
            self.check(check, &replies, &erasures).await?;
        }
        Ok(())
    }

    async fn send(&self, request: &Request) -> Reply {
        let mut body = request.body.to_string();
        if request.raw_numbers {
            body = body.replace("\"@@", "").replace("@@\"", "");
        }
        let mark = if request.bom { "\u{feff}" } else { "" };
        let headers: Vec<_> = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let org = request.path.strip_prefix("/vapi/");
        self.webhook.send(org, &headers, format!("{mark}{body}").into_bytes()).await
    }

    async fn check(&self, check: &Check, replies: &[Reply], erasures: &[Erasure]) -> Result<(), String> {
        let equal =
            |is: String, expected: String| if is == expected { Ok(()) } else { Err(format!("{is}, not {expected}")) };
        match check {
            Check::Status { status } => {
                let is: Vec<u16> = replies.iter().map(|reply| reply.status.as_u16()).collect();
                equal(format!("{is:?}"), format!("{status:?}"))
            }
            Check::Sql { sql, is } => equal(self.query(sql).await, is.clone()),
            Check::Hits { hits } => equal(self.endpoint.count().to_string(), hits.to_string()),
            Check::Hit { hit, text } => text.check(self.endpoint.requests().get(*hit).map(|hit| hit.text.as_str())),
            Check::Answer { answer, text } => text.check(replies.get(*answer).map(|reply| reply.text.as_str())),
            Check::Erasure { then, calls } => equal(erasures[*then].known.calls.to_string(), calls.to_string()),
        }
    }

    /// The columns of a query's only row, separated by `|`. A missing row is an empty text.
    async fn query(&self, sql: &str) -> String {
        let messages = self.database.superuser().await.simple_query(sql).await.unwrap();
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let row = row.map(|row| (0..row.len()).map(|column| row.get(column).unwrap_or_default()).collect::<Vec<_>>());
        row.unwrap_or_default().join("|")
    }

    /// Runs a command line of the operator's tool.
    async fn perform(&self, line: &str) -> Answer {
        let words: Vec<&str> = line.split(' ').collect();
        let option = |name: &str| {
            let at = words.iter().position(|word| word.strip_prefix("--") == Some(name))?;
            Some(words[at + 1].to_owned())
        };
        let (actor, org_id) = ("ada".to_owned(), option("org").unwrap().parse().unwrap());
        let command = match words.as_slice() {
            ["tool", "add", ..] => {
                let (kind, name) = match option("message") {
                    Some(message) => (ToolKind::Message, message),
                    None => (ToolKind::Tool, option("name").unwrap()),
                };
                let timeout_seconds = option("timeout").map_or(10, |seconds| seconds.parse().unwrap());
                let endpoint = option("endpoint").unwrap();
                let tool = Tool { kind, name, endpoint, timeout_seconds, is_idempotent: false };
                Command::SetTool { actor, org_id, tool }
            }
            ["agent", "add", ..] => {
                let (name, assistant_id) = (option("name").unwrap(), option("assistant"));
                let agent = NewAgent { name, role: "inbound".to_owned(), assistant_id, ..NewAgent::default() };
                Command::AddAgent { actor, org_id, agent }
            }
            ["erase", ..] => {
                let target = Target::Number(option("number").unwrap().into());
                Command::Erase { actor, org_id, target, run: words.contains(&"--run") }
            }
            _ => panic!("the cases have no such command: {line}"),
        };
        let administration = administration(&self.database.url("postgres", None), &self.queues);
        administration.perform(command).await.unwrap()
    }
}
