//! How an org is set up at Vapi is looked at and set right, over a fake of Vapi's API: assistants, numbers and credentials, as its contract has them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use admin::CommandError;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use ringfence_egress::{EgressClient, EgressPolicy, VapiApi};
use ringfence_harness::testing::webhook::masters;
use ringfence_harness::testing::{TestDatabase, TestQueues};
use ringfence_identity::Sealer;
use ringfence_protocol::admin::{Command, Connection, NewAgent, Reply};
use ringfence_vapi::{FailureCode, OrgId};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::administration::administration;

const KEY: &str = "a-private-key";

/// A fake of Vapi's API. It keeps what is put there, and tells no token again.
#[derive(Default)]
struct Fake {
    things: Mutex<BTreeMap<String, Value>>,
    changes: Mutex<Vec<String>>,
}

async fn answer(State(fake): State<Arc<Fake>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if headers["authorization"] != "Bearer a-private-key" {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let (path, mut things) = (uri.path().to_owned(), fake.things.lock().unwrap());
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if method != Method::GET {
        fake.changes.lock().unwrap().push(format!("{method} {path}"));
    }
    let shown = match (method, path.as_str()) {
        (Method::GET, "/credential") => {
            things.iter().filter(|(path, _)| path.starts_with("/credential/")).map(|(_, thing)| thing.clone()).collect()
        }
        (Method::POST, "/credential") => {
            assert!(body["authenticationPlan"]["token"].as_str().unwrap().starts_with("rf_"));
            let made = json!({"id": "credential-1", "provider": body["provider"], "name": body["name"]});
            things.insert("/credential/credential-1".to_owned(), made.clone());
            made
        }
        (method, path) => {
            let Some(thing) = things.get_mut(path) else { return StatusCode::NOT_FOUND.into_response() };
            if method == Method::PATCH {
                thing.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            }
            thing.clone()
        }
    };
    axum::Json(shown).into_response()
}

struct Setting {
    database: TestDatabase,
    queues: TestQueues,
    fake: Arc<Fake>,
    url: String,
    org: OrgId,
}

impl Setting {
    async fn new() -> Self {
        let (database, queues, fake) = (TestDatabase::new().await, TestQueues::new().await, Arc::new(Fake::default()));
        let org = database.org("Acme").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&fake));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let agent = NewAgent {
            name: "Desk".to_owned(),
            role: "inbound".to_owned(),
            assistant_id: Some("assistant-1".to_owned()),
            phone_number_id: Some("number-1".to_owned()),
            ..NewAgent::default()
        };
        database.admin().await.add_agent(org, &agent).await.unwrap();
        let server = json!({"url": "https://elsewhere.example", "timeoutSeconds": 45, "headers": {"x-kept": "yes"}});
        let assistant =
            json!({"id": "assistant-1", "server": server, "serverMessages": ["conversation-update", "status-update"]});
        fake.things.lock().unwrap().insert("/assistant/assistant-1".to_owned(), assistant);
        fake.things.lock().unwrap().insert("/phone-number/number-1".to_owned(), json!({"id": "number-1"}));
        Self { database, queues, fake, url, org }
    }

    async fn give_key(&self, key: &str) {
        let sealed = Sealer::new(&masters()).seal_api_key(self.org, key).unwrap();
        assert!(self.database.admin().await.set_vapi_key(self.org, Some(&sealed)).await.unwrap());
    }

    async fn connect(&self, run: bool) -> Result<Connection, CommandError> {
        let api = VapiApi::new(EgressClient::new(EgressPolicy::Anywhere), &self.url);
        let administration = administration(&self.database.url("postgres", None), &self.queues).with_vapi(api);
        match administration.perform(Command::Connect { actor: "ada".to_owned(), org_id: self.org, run }).await? {
            Reply::Connected(connection) => Ok(connection),
            other => panic!("{other:?}"),
        }
    }

    fn changes(&self) -> Vec<String> {
        self.fake.changes.lock().unwrap().clone()
    }
}

/// It says what is wrong and changes nothing; told to run it sets that right, once; a rotated key is set right again.
#[tokio::test]
async fn an_org_is_set_up_at_vapi() {
    let setting = Setting::new().await;
    assert!(matches!(setting.connect(false).await, Err(CommandError::NoVapiKey)));
    setting.give_key("another-key").await;
    assert!(matches!(setting.connect(false).await, Err(CommandError::Vapi(FailureCode::VapiKeyRefused))));
    setting.give_key(KEY).await;

    let found = setting.connect(false).await.unwrap();
    assert!(!found.changed && setting.changes().is_empty());
    let said: Vec<String> =
        found.found.iter().map(|inspected| format!("{}: {}", inspected.what, inspected.wrong.join("; "))).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    for expected in [
        "assistant assistant-1: server.url is another",
        "backoffPlan",
        "lack assistant.started",
        "have conversation-update",
    ] {
        assert!(said[0].contains(expected), "{expected}: {}", said[0]);
    }
    assert!(
        said[1].contains("phone-number number-1: server.url is not set") && !said[1].contains("serverMessages"),
        "{}",
        said[1]
    );

    assert!(setting.connect(true).await.unwrap().changed);
    let expected = ["POST /credential", "PATCH /assistant/assistant-1", "PATCH /phone-number/number-1"];
    assert_eq!(setting.changes(), expected);
    let assistant = setting.fake.things.lock().unwrap()["/assistant/assistant-1"].clone();
    assert_eq!(assistant["server"]["url"], format!("https://ringfence.example/vapi/{}", setting.org));
    assert_eq!(
        (&assistant["server"]["credentialId"], &assistant["server"]["timeoutSeconds"]),
        (&json!("credential-1"), &json!(45))
    );
    assert_eq!(assistant["server"]["headers"], json!({"x-kept": "yes"}), "what else it says stays");

    // Once is enough.
    let again = setting.connect(true).await.unwrap();
    assert!(!again.changed && again.found.iter().all(|inspected| inspected.wrong.is_empty()), "{again:?}");
    assert_eq!(setting.changes(), expected);
    assert_eq!(setting.database.count("audit_log WHERE action = 'vapi.connect' AND actor = 'ada'").await, 1);
    let admin = setting.database.admin().await;
    admin.rotate_key(setting.org, std::time::Duration::from_hours(24)).await.unwrap();
    let rotated = setting.connect(false).await.unwrap();
    assert!(rotated.found.iter().all(|inspected| inspected.wrong.len() == 1), "{rotated:?}");
}

/// What Vapi does not know is said, and keeps nothing else; of another org's nothing is asked.
#[tokio::test]
async fn what_vapi_does_not_know_is_said() {
    let setting = Setting::new().await;
    setting.give_key(KEY).await;
    setting.fake.things.lock().unwrap().remove("/assistant/assistant-1");
    let connection = setting.connect(true).await.unwrap();
    assert!(connection.found[0].wrong[0].contains("does not know it"), "{connection:?}");
    assert_eq!(setting.changes(), ["POST /credential", "PATCH /phone-number/number-1"]);
}

/// Queues and clocks, as a function of the stack sees them.
#[tokio::test]
async fn the_inside_is_inspected() {
    let setting = Setting::new().await;
    let administration = administration(&setting.database.url("postgres", None), &setting.queues);
    let Reply::Inspected { dead_letters, clock_skew_ms } = administration.perform(Command::Inspect {}).await.unwrap()
    else {
        panic!("an inspection")
    };
    assert_eq!(dead_letters.len(), 5);
    assert!(dead_letters.iter().all(|(_, count)| *count == 0), "{dead_letters:?}");
    // One machine has one clock.
    assert!(clock_skew_ms.abs() < 30_000, "{clock_skew_ms}");
}
