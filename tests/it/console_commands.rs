//! The function `console-commands`: four commands, in the name of the token's holder, for the org of the token.

use std::collections::BTreeSet;
use std::time::Duration;

use admin::{CommandError, ConsoleCommands};
use jiff::Timestamp;
use ringfence_harness::testing::webhook::masters;
use ringfence_harness::testing::{Call, TestDatabase, TestQueues, TestWebhook};
use ringfence_identity::Scope;
use ringfence_protocol::admin::{
    Command, ConsoleReply, ConsoleRequest, NewAgent, OperationState, Replayable, RetainedData, Selection, Target, Tool,
    ToolKind,
};
use ringfence_vapi::OrgId;
use serde_json::{Map, Value, json};
use strum::VariantNames as _;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::administration::console_commands;

struct Setting {
    database: TestDatabase,
    acme: OrgId,
    other: OrgId,
    commands: ConsoleCommands,
    webhook: TestWebhook,
}

impl Setting {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let queues = TestQueues::new().await;
        let (acme, other) = (database.org("Acme").await, database.org("Other").await);
        let commands = console_commands(&database.url("postgres", None), &queues);
        let webhook = TestWebhook::new(database.app(), &queues);
        Self { database, acme, other, commands, webhook }
    }

    async fn perform(&self, token: &str, command: Value) -> Result<ConsoleReply, CommandError> {
        let request: ConsoleRequest = serde_json::from_value(json!({"token": token, "command": command})).unwrap();
        self.commands.perform(request).await
    }

    /// Creates a tool call of an org with an unknown outcome, and a dead letter of the same org.
    async fn fail(&self, org: OrgId) {
        let failed = "INSERT INTO failed_operations (org_id, event_id, event_type, vapi_call_id, function, state, code, receives,
                received_at, event, first_failed_at, last_failed_at)
            VALUES ($1, 'tool-calls:c1:t1', 'tool-calls', 'c1', 'tool-calls', 'dead', 'RF7008', 1, now(), '{}', now(), now()),
                ($1, 'transcript:c1:1', 'transcript', 'c1', 'transcript', 'dead', 'RF2001', 1, now(), '{\"text\": \"My PIN is 1234\"}', now(), now())";
        self.database.superuser().await.execute(failed, &[org.as_uuid()]).await.unwrap();
    }

    /// Entries of the audit log: action, actor and org.
    async fn audited(&self) -> Vec<String> {
        let query = "SELECT string_agg(action || ' ' || actor || ' ' || org_id, ';' ORDER BY id) FROM audit_log
            WHERE action NOT IN ('organization.create')";
        self.database
            .text(&format!("({query})"))
            .await
            .map_or_else(Vec::new, |lines| lines.split(';').map(ToOwned::to_owned).collect())
    }
}

fn token(scope: Scope) -> String {
    token_at(scope, Timestamp::now())
}

fn token_at(scope: Scope, issued_at: Timestamp) -> String {
    let minter = masters().console_token_minter().unwrap();
    minter.mint(scope, "ada", Duration::from_mins(5), issued_at).unwrap().0
}

fn settle(org: OrgId) -> Value {
    json!({"command": "settle", "org_id": org, "event_id": "tool-calls:c1:t1"})
}

/// One of each administration command.
fn all_commands(org_id: OrgId) -> Vec<Command> {
    let actor = || "eve".to_owned();
    let selection = Selection { org_id: Some(org_id), ..Selection::default() };
    let phone = "+15555550142".to_owned();
    vec![
        Command::Migrate,
        Command::Verify,
        Command::CreateOrganization { actor: actor(), name: "Eve".to_owned() },
        Command::ListOrganizations { actor: actor() },
        Command::RotateKey { actor: actor(), org_id, overlap_seconds: 0 },
        Command::AddAgent { actor: actor(), org_id, agent: NewAgent::default() },
        Command::AddLead { actor: actor(), org_id, phone: phone.clone(), name: None, metadata: Map::new() },
        Command::ChangeLead { actor: actor(), org_id, phone: phone.clone(), name: None, metadata: None },
        Command::ListAgents { org_id },
        Command::ConfigureAgent {
            actor: actor(),
            org_id,
            agent_id: Uuid::nil().into(),
            is_default: None,
            configuration: None,
        },
        Command::ListTools { org_id },
        Command::SetTool {
            actor: actor(),
            org_id,
            tool: Tool {
                kind: ToolKind::Tool,
                name: "book".to_owned(),
                endpoint: "https://eve.example".to_owned(),
                timeout_seconds: 5,
                is_idempotent: true,
            },
        },
        Command::RemoveTool { actor: actor(), org_id, kind: ToolKind::Tool, name: "book".to_owned() },
        Command::ShowToolSecret { actor: actor(), org_id },
        Command::SetVapiKey { actor: actor(), org_id, key: None },
        Command::SetRetention { actor: actor(), org_id, data: RetainedData::Events, days: Some(15) },
        Command::SetZeroRetention { actor: actor(), org_id, is_zero: true },
        Command::Connect { actor: actor(), org_id, run: true },
        Command::Inspect {},
        Command::Erase { actor: actor(), org_id, target: Target::Call("c1".to_owned()), run: true },
        Command::SettleToolCall { actor: actor(), org_id, event_id: "tool-calls:c1:t1".to_owned() },
        Command::MintToken { actor: actor(), org_id, lifetime_seconds: 60 },
        Command::MintConsoleToken { actor: actor(), org_id: None, lifetime_seconds: 60 },
        Command::ListFailures { selection: selection.clone(), resolved: true, limit: 10 },
        Command::CountRedrive { selection: selection.clone() },
        Command::StartRedrive {
            actor: actor(),
            id: Uuid::nil(),
            selection: selection.clone(),
            per_second: 1,
            before: None,
        },
        Command::CountReplay { kind: Replayable::Applied, selection: selection.clone() },
        Command::StartReplay { actor: actor(), id: Uuid::nil(), kind: Replayable::Applied, selection, per_second: 1 },
        Command::ContinueOperations {},
        Command::ListOperations { id: None, org_id: None, limit: 10 },
    ]
}

/// B7: the console's entry point accepts no administration command, in any encoding.
#[test]
fn every_other_command_is_refused() {
    let org: OrgId = "8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11".parse().unwrap();
    let commands = all_commands(org);
    let names: BTreeSet<&str> = commands.iter().map(<&str>::from).collect();
    assert_eq!(
        names,
        Command::VARIANTS.iter().copied().collect::<BTreeSet<_>>(),
        "a new command belongs into the list"
    );
    for command in commands {
        let mut bare = serde_json::to_value(&command).unwrap();
        let wrapped = json!({"token": token(Scope::Operator), "command": bare});
        assert!(serde_json::from_value::<ConsoleRequest>(wrapped).is_err(), "{command:?}");
        bare["token"] = json!(token(Scope::Operator));
        assert!(serde_json::from_value::<ConsoleRequest>(bare).is_err(), "{command:?}");
    }
    let without_token = json!({"command": settle(org)});
    assert!(serde_json::from_value::<ConsoleRequest>(without_token).is_err());
}

/// B7: a command has no effect without a valid console token of its org.
#[tokio::test]
async fn a_token_that_does_not_cover_the_org_is_refused() {
    let setting = Setting::new().await;
    setting.fail(setting.acme).await;
    let acme = Scope::Org(setting.acme);
    let long_ago = Timestamp::now() - jiff::SignedDuration::from_mins(6);
    let live = masters().live_tokens().mint(setting.acme, "ada", Duration::from_mins(5), Timestamp::now()).unwrap().0;
    for (why, token) in [
        ("another org", token(Scope::Org(setting.other))),
        ("expired", token_at(acme, long_ago)),
        ("another audience", live),
        ("altered", format!("{}x", token(acme))),
        ("none", String::new()),
    ] {
        let org_id = setting.acme;
        for command in [
            json!({"command": "redrive", "org_id": org_id, "before": Timestamp::now()}),
            json!({"command": "replay", "org_id": org_id, "call_id": "c1"}),
            json!({"command": "unmask", "org_id": org_id, "event_id": "transcript:c1:1"}),
            settle(org_id),
        ] {
            let refused = setting.perform(&token, command.clone()).await;
            assert!(matches!(refused, Err(CommandError::InvalidToken(_) | CommandError::OtherOrg)), "{why} {command}");
        }
    }
    assert_eq!(setting.audited().await, [""; 0]);
    assert_eq!(setting.database.count("admin_operations").await, 0);
    assert_eq!(setting.database.count("failed_operations WHERE state = 'dead'").await, 2);
}

/// B7: the audit log names the holder of the token. A payload that names an actor is refused.
#[tokio::test]
async fn the_actor_is_the_holder_of_the_token() {
    let setting = Setting::new().await;
    setting.fail(setting.acme).await;
    let call = Call::default();
    assert_eq!(setting.webhook.post(setting.acme, &call.status("ended", 0)).await.status, 200);
    let (own, org_id) = (token(Scope::Org(setting.acme)), setting.acme);

    for (name, value) in [("actor", json!("eve")), ("per_second", json!(1_000_000))] {
        let mut command = settle(org_id);
        command[name] = value.clone();
        assert!(serde_json::from_value::<ConsoleRequest>(json!({"token": own, "command": command})).is_err());
        let mut request = json!({"token": own, "command": settle(org_id)});
        request[name] = value;
        assert!(serde_json::from_value::<ConsoleRequest>(request).is_err());
    }
    assert_eq!(setting.perform(&own, settle(org_id)).await.unwrap(), ConsoleReply::Settled {});
    let replay = json!({"command": "replay", "org_id": org_id, "call_id": call.id});
    let ConsoleReply::Operation(replayed) = setting.perform(&own, replay).await.unwrap() else {
        panic!("another reply")
    };
    assert_eq!((replayed.actor.as_str(), replayed.org_id, replayed.done), ("ada", Some(org_id), 1));
    assert_eq!(replayed.state, OperationState::Done);
    let redrive = json!({"command": "redrive", "org_id": org_id, "code": "RF2001", "before": Timestamp::now()});
    let ConsoleReply::Operation(redriven) = setting.perform(&own, redrive).await.unwrap() else {
        panic!("another reply")
    };
    assert_eq!((redriven.org_id, redriven.done, redriven.remaining), (Some(org_id), 0, Some(1)), "its message is gone");

    let expected = ["tool_call.settle", "operation.start", "event.replay", "operation.start", "event.redrive_pass"];
    assert_eq!(setting.audited().await, expected.map(|action| format!("{action} ada {org_id}")));
}

/// B7: unmasking returns the event to holders of a token of its org and is audited. An operator's token covers every
/// org.
#[tokio::test]
async fn an_event_is_unmasked_for_its_org_only() {
    let setting = Setting::new().await;
    setting.fail(setting.acme).await;
    let unmask = |org: OrgId, event: &str| json!({"command": "unmask", "org_id": org, "event_id": event});
    for scope in [Scope::Org(setting.acme), Scope::Operator] {
        let reply = setting.perform(&token(scope), unmask(setting.acme, "transcript:c1:1")).await.unwrap();
        let event = Some(json!({"text": "My PIN is 1234"}).into());
        assert_eq!(reply, ConsoleReply::Unmasked { event });
        assert!(!format!("{reply:?}").contains("1234"));
    }
    let audited = format!("failure.unmask ada {}", setting.acme);
    assert_eq!(setting.audited().await, [audited.clone(), audited.clone()]);
    let own = token(Scope::Org(setting.other));
    let reply = setting.perform(&own, unmask(setting.other, "transcript:c1:1")).await.unwrap();
    assert_eq!(reply, ConsoleReply::Unmasked { event: None });
    assert_eq!(setting.audited().await.len(), 2);

    let app = setting.database.client("ringfence_app").await;
    let unmask = "SELECT unmask_failure_v1('eve', $1, 'transcript:c1:1')";
    let refused = app.execute(unmask, &[setting.acme.as_uuid()]).await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
}
