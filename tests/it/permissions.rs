//! The permissions of each function's role are exactly those that its code needs. The requests to AWS are found in the
//! source: the SDK's operations in a few wrapping methods, and the calls of these methods in the parts of each
//! function.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use ringfence_vapi::Function;
use serde_json::Value;
use strum::IntoEnumIterator as _;

use crate::template::template;

/// Action and resource of a permission, such as `sqs:SendMessage` on `BroadcastQueue.Arn`.
type Permission = (String, String);

/// Files in which the SDK's operations are called.
const WRAPPERS: [&str; 6] = [
    "shared/aws/src/bucket.rs",
    "shared/aws/src/connections.rs",
    "shared/aws/src/invoke.rs",
    "shared/aws/src/queue.rs",
    "shared/runtime/src/parking.rs",
    "functions/recording-upload/src/store.rs",
];

/// Operations of the SDK, and the IAM actions that they need.
const OPERATIONS: [(&str, &str); 19] = [
    ("abort_multipart_upload", "s3:AbortMultipartUpload"),
    ("change_message_visibility", "sqs:ChangeMessageVisibility"),
    ("change_message_visibility_batch", "sqs:ChangeMessageVisibility"),
    ("complete_multipart_upload", "s3:PutObject"),
    ("create_multipart_upload", "s3:PutObject"),
    ("delete_connection", "execute-api:ManageConnections DELETE"),
    ("delete_message", "sqs:DeleteMessage"),
    ("delete_object", "s3:DeleteObject"),
    ("get_object", "s3:GetObject"),
    ("get_queue_attributes", "sqs:GetQueueAttributes"),
    ("invoke", "lambda:InvokeFunction"),
    ("list_objects_v2", "s3:ListBucket"),
    ("post_to_connection", "execute-api:ManageConnections POST"),
    ("put_object", "s3:PutObject"),
    ("receive_message", "sqs:ReceiveMessage"),
    ("send_message", "sqs:SendMessage"),
    ("send_message_batch", "sqs:SendMessage"),
    ("upload_part", "s3:PutObject"),
    // Without the right to list the bucket, S3 answers 403 instead of 404 for an object that does not exist.
    ("is_no_such_key", "s3:ListBucket"),
];

/// What a call of a wrapping method acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// The retry queue of the function, or all retry queues that the function redrives to.
    Retries,
    /// The dead-letter queue of the function, or all that the function redrives from.
    DeadLetters,
    EventRetries,
    EventFunctions,
    ReportRetries,
    Broadcasts,
    RecordingUploads,
    EveryQueue,
    EveryDeadLetters,
    Parking,
    Recordings,
    Connections,
    ConsoleCommands,
}

/// Calls of wrapping methods in the source: the text of the call, the file and method of the wrapper, what it acts on.
const CALLS: [(&str, &str, &str, On); 29] = [
    ("self.of(function).send_text(", "queue", "send_text", On::EventRetries),
    ("retries.send_text(", "queue", "send_text", On::Retries),
    ("dead_letters.send_text(", "queue", "send_text", On::DeadLetters),
    ("reports.send_text(", "queue", "send_text", On::ReportRetries),
    ("self.0.send_texts(", "queue", "send_texts", On::RecordingUploads),
    ("broadcasts.send_later(", "queue", "send_later", On::Broadcasts),
    ("retries.send_later(", "queue", "send_later", On::Retries),
    ("retries.postpone(", "queue", "postpone", On::Retries),
    ("dead_letters.receive(", "queue", "receive", On::DeadLetters),
    ("dead_letters.release(", "queue", "release", On::DeadLetters),
    ("dead_letters.delete(", "queue", "delete", On::DeadLetters),
    ("dead_letters.depth(", "queue", "depth", On::DeadLetters),
    ("queue.depth(", "queue", "depth", On::EveryQueue),
    ("inspected.depth(", "queue", "depth", On::EveryDeadLetters),
    ("invoker.invoke(name", "invoke", "invoke", On::EventFunctions),
    ("invoker.invoke(&self.function", "invoke", "invoke", On::ConsoleCommands),
    ("invoker.invoke_async(&self.function", "invoke", "invoke_async", On::ConsoleCommands),
    ("connections.push(", "connections", "push", On::Connections),
    ("connections.close(", "connections", "close", On::Connections),
    ("parking.park(", "parking", "park", On::Parking),
    ("parking.open(", "parking", "open", On::Parking),
    ("parking.read(", "parking", "read", On::Parking),
    ("parking.keys(", "parking", "keys", On::Parking),
    ("parking.delete(", "parking", "delete", On::Parking),
    ("bucket.delete(", "bucket", "delete", On::Recordings),
    // Signed here, and requested by a browser with the permissions of the role.
    ("bucket.link(", "bucket", "link", On::Recordings),
    ("bucket.origin(", "bucket", "origin", On::Recordings),
    ("Store(&self.bucket).find(", "store", "find", On::Recordings),
    ("Store(&self.bucket).store(", "store", "store", On::Recordings),
];

/// Methods of the wrappers with names of their own: each call of one is in [`CALLS`].
const DISTINCT: [&str; 8] =
    [".send_text(", ".send_texts(", ".send_later(", ".release(", ".depth(", ".invoke(", ".invoke_async(", ".origin("];

/// Shared parts of a function, by a text in its `main.rs`, and their files.
const PARTS: [(&str, &[&str]); 7] = [
    ("RetryQueues::", &["shared/runtime/src/retry_queues.rs", "shared/runtime/src/handover.rs"]),
    ("route::", &["shared/runtime/src/retry_queues.rs", "shared/runtime/src/handover.rs"]),
    ("Pusher::", &["shared/runtime/src/pusher.rs"]),
    ("RecordingQueue::", &["shared/runtime/src/recordings.rs"]),
    ("queue_function(", &["shared/runtime/src/consumer.rs"]),
    (
        "event_function(",
        &["shared/runtime/src/events.rs", "shared/runtime/src/consumer.rs", "shared/runtime/src/pusher.rs"],
    ),
    ("event_function(Function::EndOfCallReport)", &["shared/runtime/src/recordings.rs"]),
];

/// Files of a function: those of its crate, and those of the shared parts that its `main.rs` names.
fn files(name: &str) -> BTreeSet<String> {
    let is_second = name == "console-commands";
    let folder = format!("functions/{}/src", if is_second { "admin" } else { name });
    let main = code(&format!("{folder}/{}", if is_second { "bin/console-commands.rs" } else { "main.rs" }));
    let mut files: BTreeSet<_> = PARTS
        .iter()
        .filter(|(text, _)| main.contains(text))
        .flat_map(|(_, files)| files.iter().map(|file| (*file).to_owned()))
        .collect();
    for entry in fs::read_dir(root().join(&folder)).unwrap() {
        let file = entry.unwrap().file_name().to_string_lossy().into_owned();
        // The second binary of the crate does not reach the commands of the first.
        let is_reached = !is_second || !["administration.rs", "erase.rs"].contains(&file.as_str());
        if file.strip_suffix(".rs").is_some_and(|module| module != "main") && is_reached {
            files.insert(format!("{folder}/{file}"));
        }
    }
    files
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A file without comments, tests and white space.
fn code(file: &str) -> String {
    let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(str::chars).filter(|character| !character.is_whitespace()).collect()
}

/// Functions of a file: name and body.
fn methods(file: &str) -> BTreeMap<String, String> {
    let code = code(file);
    // White space is gone: "async fn park(" is "asyncfnpark(".
    let starts: Vec<_> =
        code.match_indices("fn").filter(|(at, _)| is_definition(&code, *at)).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([code.len()]);
    let method = |(start, end): (&usize, usize)| {
        let text = &code[start + 2..end];
        let name = text.split(['(', '<']).next().unwrap().to_owned();
        (name, text.to_owned())
    };
    starts.iter().zip(ends).map(method).collect()
}

fn is_definition(code: &str, at: usize) -> bool {
    let before = &code[..at];
    let starts = ["}", "{", "]", "pub", "pub(crate)", "async", "const", ";"].iter().any(|word| before.ends_with(word));
    let name: String =
        code[at + 2..].chars().take_while(|c| c.is_ascii_lowercase() || "_0123456789".contains(*c)).collect();
    starts && !name.is_empty() && code[at + 2 + name.len()..].starts_with(['(', '<'])
}

/// IAM actions that a method of a wrapper needs, with those of the methods that it calls in its file.
fn actions(methods: &BTreeMap<String, String>, name: &str) -> BTreeSet<&'static str> {
    let body = methods.get(name).unwrap_or_else(|| panic!("no method {name} in {:?}", methods.keys()));
    let called = OPERATIONS.iter().filter(|(operation, _)| {
        body.contains(&format!("client.{operation}()")) || (*operation == "is_no_such_key" && body.contains(operation))
    });
    let mut actions: BTreeSet<_> = called.map(|(_, action)| *action).collect();
    let inner = methods.keys().filter(|inner| *inner != name && body.contains(&format!("self.{inner}(")));
    for inner in inner {
        actions.extend(self::actions(methods, inner));
    }
    actions
}

/// Every operation of the SDK in the code, as `file operation`.
fn operations_in(file: &str) -> BTreeSet<String> {
    let code = code(file);
    let calls = code.match_indices("client.").filter_map(|(at, _)| {
        let rest = &code[at + "client.".len()..];
        let name = rest.split("()").next()?;
        name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_').then(|| name.to_owned())
    });
    calls.collect()
}

/// E12: requests to AWS are sent by the wrappers only, and each of their operations is in the table.
#[test]
fn only_the_wrappers_send_requests_to_aws() {
    let known: BTreeSet<_> = OPERATIONS.iter().map(|(operation, _)| (*operation).to_owned()).collect();
    let mut used = BTreeSet::from(["is_no_such_key".to_owned()]);
    for file in sources() {
        let operations = operations_in(&file);
        if WRAPPERS.contains(&file.as_str()) {
            assert!(!operations.is_empty() && operations.is_subset(&known), "{file}: {operations:?}");
            used.extend(operations);
        } else {
            let sent: Vec<_> = operations.intersection(&known).collect();
            assert!(sent.is_empty(), "{file}: {sent:?}");
        }
        if !WRAPPERS.contains(&file.as_str()) {
            let code = code(&file);
            for method in DISTINCT {
                let listed: usize = CALLS
                    .iter()
                    .filter(|(call, ..)| call.contains(method))
                    .map(|(call, ..)| code.matches(call).count())
                    .sum();
                assert_eq!(code.matches(method).count(), listed, "{file}: a call of {method}..) is not in CALLS");
            }
        }
    }
    assert_eq!(used, known, "operations that no code uses");
}

/// Files of the functions and of what they share.
fn sources() -> Vec<String> {
    let mut found = Vec::new();
    for crates in ["functions", "shared"] {
        for folder in fs::read_dir(root().join(crates)).unwrap() {
            collect(&folder.unwrap().path().join("src"), &mut found);
        }
    }
    found
}

fn collect(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("tests") {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
        }
    }
}

/// `call-started` as in the names of the template's resources: `CallStarted`.
fn camel_case(name: &str) -> String {
    let capitalised = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('-').map(capitalised).collect()
}

/// Prefix of the names of a function's queues, role and logs in the template.
fn prefix(function: &str) -> String {
    if function == "broadcast-retry" { "Broadcast".to_owned() } else { camel_case(function) }
}

/// Resources that a function's call acts on, as [`resource`] names them.
fn resources_of(on: On, function: &str) -> Vec<String> {
    let events = || Function::iter().map(|function| camel_case(function.as_str()));
    let is_administrative = ["admin", "console-commands"].contains(&function);
    let own = || {
        let all = events().chain(["RecordingUpload".to_owned()]).collect();
        if is_administrative { all } else { vec![prefix(function)] }
    };
    let with =
        |names: Vec<String>, suffix: &str| names.iter().map(|name| format!("{name}{suffix}")).collect::<Vec<_>>();
    match on {
        On::Retries => with(own(), "Queue"),
        On::DeadLetters => with(own(), "DeadLetters"),
        On::EventRetries => with(events().collect(), "Queue"),
        On::EventFunctions => with(events().collect(), "Function"),
        On::ReportRetries => vec!["EndOfCallReportQueue".to_owned()],
        On::Broadcasts => vec!["BroadcastQueue".to_owned()],
        On::RecordingUploads => vec!["RecordingUploadQueue".to_owned()],
        On::EveryQueue => {
            let all: Vec<_> = events().chain(["RecordingUpload", "Broadcast"].map(str::to_owned)).collect();
            [with(all.clone(), "Queue"), with(all, "DeadLetters")].concat()
        }
        On::EveryDeadLetters => {
            with(events().chain(["RecordingUpload", "Broadcast"].map(str::to_owned)).collect(), "DeadLetters")
        }
        On::Parking => vec!["ParkingBucket".to_owned()],
        On::Recordings => vec!["RecordingsBucket".to_owned()],
        On::Connections => vec!["connections".to_owned()],
        On::ConsoleCommands => vec!["ConsoleCommandsFunction".to_owned()],
    }
}

/// What the code of a function needs, and what Lambda needs to write its log and to poll its queue.
fn needed(function: &str, has_queue: bool) -> BTreeSet<Permission> {
    let mut needed = BTreeSet::new();
    for file in files(function) {
        let code = code(&file);
        for (_, wrapper, method, on) in CALLS.iter().filter(|(call, ..)| code.contains(call)) {
            let wrapper = WRAPPERS.iter().find(|file| file.ends_with(&format!("/{wrapper}.rs"))).expect("a wrapper");
            for action in actions(&methods(wrapper), method) {
                needed.extend(resources_of(*on, function).into_iter().map(|name| permission(action, name)));
            }
        }
    }
    let name = prefix(function);
    let mut lambda = vec![("logs:CreateLogStream", "Logs"), ("logs:PutLogEvents", "Logs")];
    if has_queue {
        let poll = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
        lambda.extend(poll.map(|action| (action, "Queue")));
    }
    needed.extend(lambda.into_iter().map(|(action, kind)| (action.to_owned(), format!("{name}{kind}"))));
    needed
}

/// A bucket's objects have other ARNs than the bucket. The permission to manage connections names an HTTP method.
fn permission(action: &str, resource: String) -> Permission {
    match action.split_once(' ') {
        Some((action, method)) => (action.to_owned(), format!("{resource} {method}")),
        None if action.starts_with("s3:") && action != "s3:ListBucket" => (action.to_owned(), format!("{resource}/*")),
        None => (action.to_owned(), resource),
    }
}

/// A resource of a policy: `CallStartedQueue`, `ParkingBucket`, `ParkingBucket/*`, `connections POST`.
fn resource(value: &Value) -> String {
    if let Some(name) = value["!GetAtt"].as_str() {
        return name.strip_suffix(".Arn").expect("an ARN").to_owned();
    }
    let text = value["!Sub"].as_str().unwrap_or_else(|| panic!("{value} is wider than one resource"));
    if let Some((_, route)) = text.split_once("${WebSocketApi}/live/") {
        return format!("connections {}", route.strip_suffix("/@connections/*").expect("a method"));
    }
    let objects = text.strip_prefix("${").and_then(|text| text.strip_suffix(".Arn}/*"));
    format!("{}/*", objects.unwrap_or_else(|| panic!("{text} is wider than a bucket's objects")))
}

fn list(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |items| items.iter().collect())
}

/// What a role allows.
fn granted(role: &Value) -> BTreeSet<Permission> {
    let policies = list(&role["Policies"]).into_iter().flat_map(|policy| list(&policy["PolicyDocument"]["Statement"]));
    let mut granted = BTreeSet::new();
    for statement in policies {
        assert_eq!(statement["Effect"], "Allow");
        for action in list(&statement["Action"]) {
            for resource in list(&statement["Resource"]).into_iter().map(resource) {
                let is_new = granted.insert((action.as_str().expect("an action").to_owned(), resource));
                assert!(is_new, "{statement} repeats another");
            }
        }
    }
    granted
}

/// E12: the role of each function allows what its code needs and nothing else.
#[test]
fn each_role_allows_what_the_code_needs_and_nothing_else() {
    let template = template();
    let resources = template["Resources"].as_object().unwrap();
    let mut roles = 0;
    for (id, function) in resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function") {
        let properties = &function["Properties"];
        let name = properties["FunctionName"]["!Sub"].as_str().unwrap().strip_prefix("${AWS::StackName}-").unwrap();
        let role = properties["Role"]["!GetAtt"].as_str().unwrap().strip_suffix(".Arn").unwrap();
        assert_eq!(role, format!("{}Role", prefix(name)));
        let has_queue = resources.values().any(|mapping| {
            mapping["Type"] == "AWS::Lambda::EventSourceMapping"
                && mapping["Properties"]["FunctionName"]["!GetAtt"] == format!("{id}.Arn")
        });
        let (needed, granted) = (needed(name, has_queue), granted(&resources[role]["Properties"]));
        let missing: Vec<_> = needed.difference(&granted).collect();
        let unused: Vec<_> = granted.difference(&needed).collect();
        assert!(missing.is_empty() && unused.is_empty(), "{name} lacks {missing:?} and does not need {unused:?}");
        roles += 1;
    }
    let all = resources.values().filter(|resource| resource["Type"] == "AWS::IAM::Role").count();
    assert_eq!(roles, all, "no other roles");
}

/// E12: Lambda attaches the functions to the VPC with the permissions of their roles. Their own code cannot use these
/// permissions.
#[test]
fn the_code_of_a_function_cannot_change_network_interfaces() {
    let template = template();
    let resources = template["Resources"].as_object().unwrap();
    let statements = list(&resources["VpcAccess"]["Properties"]["PolicyDocument"]["Statement"]);
    let [allow, deny] = statements[..] else { panic!("{statements:?}") };
    assert_eq!((&allow["Effect"], &deny["Effect"]), (&"Allow".into(), &"Deny".into()));
    assert_eq!((&deny["Action"], &deny["Resource"]), (&"ec2:*".into(), &"*".into()));
    let functions = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}-*";
    assert_eq!(deny["Condition"]["ArnLike"]["lambda:SourceFunctionArn"]["!Sub"], functions);
    for (name, role) in resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::IAM::Role") {
        let attached: Vec<_> =
            list(&role["Properties"]["ManagedPolicyArns"]).iter().map(|policy| policy["!If"].clone()).collect();
        let policy =
            |condition: &str, policy: &str| serde_json::json!([condition, {"!Ref": policy}, {"!Ref": "AWS::NoValue"}]);
        assert_eq!(attached, [policy("InVpc", "VpcAccess"), policy("HasKmsKey", "KeyAccess")], "{name}");
    }
}
