//! Inspection and repair of an org's configuration at Vapi, with a fake of Vapi's API: assistants, numbers and
//! credentials, as in its contract.

use admin::CommandError;
use ringfence_egress::{EgressClient, EgressPolicy, VapiApi, VapiApiError};
use ringfence_harness::testing::fake_vapi::API_KEY;
use ringfence_harness::testing::webhook::masters;
use ringfence_harness::testing::{FakeVapi, TestDatabase, TestQueues};
use ringfence_protocol::admin::{Command, Connection, NewAgent, Reply};
use ringfence_vapi::{Function, OrgId};
use serde_json::json;
use strum::IntoEnumIterator as _;

use crate::administration::administration;

struct Setting {
    database: TestDatabase,
    queues: TestQueues,
    vapi: FakeVapi,
    org: OrgId,
}

impl Setting {
    async fn new() -> Self {
        let (database, queues, vapi) = (TestDatabase::new().await, TestQueues::new().await, FakeVapi::start().await);
        let org = database.org("Acme").await;
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
        vapi.put_resource("/assistant/assistant-1", assistant);
        vapi.put_resource("/phone-number/number-1", json!({"id": "number-1"}));
        Self { database, queues, vapi, org }
    }

    async fn give_key(&self, key: &str) {
        let sealed = masters().api_key_sealer().seal(self.org, key).unwrap();
        assert!(self.database.admin().await.set_vapi_key(self.org, Some(&sealed)).await.unwrap());
    }

    async fn connect(&self, run: bool) -> Result<Connection, CommandError> {
        let api = VapiApi::new(EgressClient::new(EgressPolicy::Anywhere), &self.vapi.url);
        let administration = administration(&self.database.url("postgres", None), &self.queues).with_vapi(api);
        match administration.perform(Command::Connect { actor: "ada".to_owned(), org_id: self.org, run }).await? {
            Reply::Connected(connection) => Ok(connection),
            other => panic!("{other:?}"),
        }
    }

    fn changes(&self) -> Vec<String> {
        self.vapi.changes()
    }
}

/// Without `run`, the command reports differences and changes nothing. With it, the command repairs them once, and
/// again after a key rotation.
#[tokio::test]
async fn an_org_is_set_up_at_vapi() {
    let setting = Setting::new().await;
    assert!(matches!(setting.connect(false).await, Err(CommandError::NoVapiKey)));
    setting.give_key("another-key").await;
    assert!(matches!(setting.connect(false).await, Err(CommandError::Vapi(VapiApiError::KeyRefused))));
    setting.give_key(API_KEY).await;

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
    let assistant = setting.vapi.resource("/assistant/assistant-1").unwrap();
    assert_eq!(assistant["server"]["url"], format!("https://ringfence.example/vapi/{}", setting.org));
    assert_eq!(
        (&assistant["server"]["credentialId"], &assistant["server"]["timeoutSeconds"]),
        (&json!("credential-1"), &json!(45))
    );
    assert_eq!(assistant["server"]["headers"], json!({"x-kept": "yes"}), "what else it says stays");

    // A second run changes nothing.
    let again = setting.connect(true).await.unwrap();
    assert!(!again.changed && again.found.iter().all(|inspected| inspected.wrong.is_empty()), "{again:?}");
    assert_eq!(setting.changes(), expected);
    assert_eq!(setting.database.count("audit_log WHERE action = 'vapi.connect' AND actor = 'ada'").await, 1);
    let admin = setting.database.admin().await;
    admin.rotate_key(setting.org, std::time::Duration::from_hours(24)).await.unwrap();
    let rotated = setting.connect(false).await.unwrap();
    assert!(rotated.found.iter().all(|inspected| inspected.wrong.len() == 1), "{rotated:?}");
}

/// Ids that Vapi does not know are reported and do not stop the command. Ids of other orgs are not requested.
#[tokio::test]
async fn calls_that_vapi_does_not_know_are_reported() {
    let setting = Setting::new().await;
    setting.give_key(API_KEY).await;
    setting.vapi.remove_resource("/assistant/assistant-1");
    let connection = setting.connect(true).await.unwrap();
    assert!(connection.found[0].wrong[0].contains("does not know it"), "{connection:?}");
    assert_eq!(setting.changes(), ["POST /credential", "PATCH /phone-number/number-1"]);
}

/// E6: the org's credential is found on a later page of Vapi's list, so none is created again.
#[tokio::test]
async fn the_credential_is_found_on_a_later_page() {
    let setting = Setting::new().await;
    setting.give_key(API_KEY).await;
    assert!(setting.connect(true).await.unwrap().changed);
    let changes = setting.changes();
    // All are newer, in pairs of the same time, so that a page ends between two.
    for number in 0..2_001 {
        let created = jiff::Timestamp::from_second(1_800_000_000 + (number + 1) / 2).unwrap();
        let other = json!({"id": format!("other-{number}"), "name": "another", "createdAt": created.to_string()});
        setting.vapi.put_resource(&format!("/credential/other-{number}"), other);
    }
    let again = setting.connect(true).await.unwrap();
    assert!(again.found.iter().all(|inspected| inspected.wrong.is_empty()), "{again:?}");
    assert_eq!(setting.changes(), changes);
}

/// E6: an assistant that Vapi does not change is reported, and the other resources are changed.
#[tokio::test]
async fn a_change_that_fails_stops_no_other() {
    let setting = Setting::new().await;
    setting.give_key(API_KEY).await;
    setting.vapi.refuse_changes("/assistant/assistant-1");
    let connection = setting.connect(true).await.unwrap();
    assert_eq!((connection.failed, connection.changed), (1, true));
    assert!(connection.found[0].wrong.iter().any(|wrong| wrong.starts_with("not changed: RF")), "{connection:?}");
    let number = setting.vapi.resource("/phone-number/number-1").unwrap();
    assert_eq!(number["server"]["url"], format!("https://ringfence.example/vapi/{}", setting.org));
    assert_eq!(setting.connect(true).await.unwrap().failed, 1);
}

/// Queues and clocks as a function of the stack sees them.
#[tokio::test]
async fn the_inside_is_inspected() {
    let setting = Setting::new().await;
    let administration = administration(&setting.database.url("postgres", None), &setting.queues);
    let Reply::Inspected { dead_letters, clock_skew_ms, .. } =
        administration.perform(Command::Inspect {}).await.unwrap()
    else {
        panic!("an inspection")
    };
    let functions: Vec<&str> = dead_letters.iter().map(|(function, _)| function.as_str()).collect();
    let events = Function::iter().map(Function::as_str);
    assert_eq!(functions, events.chain(["recording-upload", "broadcast-retry"]).collect::<Vec<_>>());
    assert!(dead_letters.iter().all(|(_, count)| *count == 0), "{dead_letters:?}");
    // Both clocks are this machine's.
    assert!(clock_skew_ms.abs() < 30_000, "{clock_skew_ms}");
}
