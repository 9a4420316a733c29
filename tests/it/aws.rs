//! Rules of AWS that an emulator does not enforce, checked in template.yaml.

use std::collections::BTreeMap;

use ringfence_harness::local::queues::consumers;
use ringfence_identity::{MasterKeys, Ring};
use serde_json::{Map, Value};

use crate::template::template;

/// Lambda's limit for all environment variables of a function together.
const LAMBDA_LIMIT: usize = 4_096;

/// The values of the template in the worst case: the longest names, and every parameter at its `MaxLength`.
struct Worst<'a> {
    template: &'a Value,
    /// Length of the database's CA certificate, PEM.
    ca: usize,
}

impl Worst<'_> {
    /// Longest possible value. None: the variable is absent.
    fn value(&self, value: &Value) -> Option<String> {
        match value {
            Value::Object(function) => {
                let (name, argument) = function.iter().next().expect("an intrinsic function");
                match name.as_str() {
                    "!Ref" => self.reference(argument.as_str().expect("a name")),
                    "!Sub" => Some(self.substituted(argument.as_str().expect("a text"))),
                    "!GetAtt" => Some(attribute(argument.as_str().expect("a name"))),
                    "!If" => {
                        let branches = argument.as_array().expect("branches");
                        branches[1..].iter().filter_map(|branch| self.value(branch)).max_by_key(String::len)
                    }
                    other => panic!("{other} in an environment"),
                }
            }
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    fn substituted(&self, text: &str) -> String {
        if let Some(secret) = text.strip_prefix("{{resolve:secretsmanager:${") {
            let key = secret.split(':').nth(2).expect("a key of the secret");
            return self.secret(key);
        }
        let mut parts = text.split("${");
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').expect("a name");
            whole.push_str(&self.reference(name).expect("a value"));
            whole.push_str(rest);
        }
        whole
    }

    /// Sizes that docs/DEPLOY.md names.
    fn secret(&self, key: &str) -> String {
        match key {
            "app_url" | "owner_url" => "u".repeat(200),
            "app_password" => "p".repeat(100),
            "master_keys" => two_masters(),
            // Lines of 64 characters.
            "ca_pem" => "c".repeat(64).chars().chain(['\n']).cycle().take(self.ca).collect(),
            other => panic!("{other} in an environment"),
        }
    }

    fn reference(&self, name: &str) -> Option<String> {
        let parameter = &self.template["Parameters"][name];
        if parameter.is_object() {
            return Some("x".repeat(length(name, parameter)));
        }
        let text = match name {
            "AWS::NoValue" => return None,
            "AWS::StackName" => "s".repeat(64),
            "AWS::Region" => "ap-northeast-3".to_owned(),
            "AWS::URLSuffix" => "amazonaws.com.cn".to_owned(),
            "AWS::AccountId" => "123456789012".to_owned(),
            "WebSocketApi" => "a".repeat(10),
            "RecordingsBucket" | "ParkingBucket" => "b".repeat(63),
            other => panic!("{other} in an environment"),
        };
        Some(text)
    }
}

/// Length of a parameter's longest value, in bytes.
fn length(name: &str, parameter: &Value) -> usize {
    if let Some(allowed) = parameter["AllowedValues"].as_array() {
        return allowed.iter().filter_map(Value::as_str).map(str::len).max().expect("a value");
    }
    if let Some(largest) = parameter["MaxValue"].as_i64() {
        return largest.to_string().len();
    }
    let characters = parameter["MaxLength"].as_u64().unwrap_or_else(|| panic!("{name} has no MaxLength"));
    // Only this one has characters beyond ASCII, of two bytes in most languages outside Asia.
    let bytes = if name == "FallbackSentence" { 2 } else { 1 };
    usize::try_from(characters * bytes).unwrap()
}

fn attribute(name: &str) -> String {
    if name == "HttpApi.ApiEndpoint" {
        return format!("https://{}.execute-api.ap-northeast-3.amazonaws.com.cn", "a".repeat(10));
    }
    let ring = name.strip_prefix("Migration.").and_then(|name| Ring::ALL.into_iter().find(|r| r.attribute() == name));
    let masters: MasterKeys = two_masters().parse().expect("master keys");
    masters.key_ring(ring.expect("a key ring").purposes()).unwrap().expose()
}

/// Two master keys, with names of the greatest length.
fn two_masters() -> String {
    let key = "A".repeat(43) + "=";
    format!("rotated2:{key},rotated1:{key}")
}

/// Environment variables of each function.
fn environments(template: &Value) -> BTreeMap<&String, Map<String, Value>> {
    let common = template["Globals"]["Function"]["Environment"]["Variables"].as_object().expect("variables");
    let resources = template["Resources"].as_object().expect("resources").iter();
    let functions = resources.filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function");
    functions
        .map(|(name, function)| {
            let mut variables = common.clone();
            let own = function["Properties"]["Environment"]["Variables"].as_object().expect("variables");
            variables.extend(own.clone());
            (name, variables)
        })
        .collect()
}

/// Size of the largest environment as JSON, which is how Lambda measures it, and its function.
fn largest(template: &Value, ca: usize) -> (usize, &String) {
    let worst = Worst { template, ca };
    let sizes = environments(template).into_iter().map(|(name, variables)| {
        let values: BTreeMap<_, _> =
            variables.iter().filter_map(|(name, value)| Some((name, worst.value(value)?))).collect();
        (serde_json::to_vec(&values).unwrap().len(), name)
    });
    sizes.max().expect("functions")
}

/// E12: the environment of each function fits with room to spare with a CA of usual size, and also fits with one of
/// 2 KB. Roots of RDS are in the code.
#[test]
fn the_environment_of_each_function_fits_in_the_worst_case() {
    let template = template();
    let (size, function) = largest(&template, 1_500);
    assert!(size < 3_500, "{function}: {size}");
    let (size, function) = largest(&template, 2_048);
    assert!(size < LAMBDA_LIMIT, "{function}: {size}");
}

/// E12: CloudFormation reads a secret again only in resources that change. Without a version, a function that changes
/// for another reason would get a new password that the database's role does not have yet. Therefore each secret is
/// read at a version that every deployment has to name, and another version runs the migration, which sets the
/// password.
#[test]
fn each_secret_is_read_at_a_version_that_the_deployment_names() {
    let template = template();
    for secret in ["Database", "Ringfence"] {
        let version = &template["Parameters"][format!("{secret}SecretVersion")];
        assert!(version.is_object() && version["Default"].is_null(), "{secret}");
        let property = &template["Resources"]["Migration"]["Properties"][format!("{secret}Secret")];
        assert_eq!(property["!Sub"], format!("${{{secret}SecretArn}}:${{{secret}SecretVersion}}"));
    }
    let text = template.to_string();
    let references: Vec<_> = text.split("{{resolve:").skip(1).map(|rest| rest.split("}}\"").next().unwrap()).collect();
    assert!(references.len() > 15);
    for reference in references {
        let secret = reference.strip_prefix("secretsmanager:${").unwrap().split("SecretArn}").next().unwrap();
        assert!(reference.ends_with(&format!("::${{{secret}SecretVersion}}")), "{reference}");
    }
}

/// E12: Lambda publishes no version if neither code nor configuration has changed, so the release is part of the
/// configuration of each function with an alias.
#[test]
fn each_release_publishes_a_version_of_the_functions_with_an_alias() {
    let template = template();
    let environments = environments(&template);
    let with_alias: Vec<_> = template["Resources"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, resource)| {
            let properties = &resource["Properties"];
            properties.get("AutoPublishAlias").is_some()
        })
        .collect();
    assert_eq!(with_alias.len(), 2);
    for (name, function) in with_alias {
        assert_eq!(function["Properties"]["AutoPublishCodeSha256"]["!Ref"], "Release", "{name}");
        assert_eq!(environments[name]["RELEASE"]["!Ref"], "Release", "{name}");
    }
}

/// E12: the functions build the URLs of queues and the names of functions from a prefix. The template gives exactly
/// these names, and SQS has the URL of a queue at this place.
#[test]
fn queues_and_functions_have_the_names_that_the_code_builds() {
    let template = template();
    for (function, variables) in environments(&template) {
        if let Some(prefix) = variables.get("QUEUE_URL_PREFIX") {
            let url = "https://sqs.${AWS::Region}.${AWS::URLSuffix}/${AWS::AccountId}/${AWS::StackName}-";
            assert_eq!(prefix["!Sub"], url, "{function}");
        }
        assert_eq!(variables["STACK_NAME"]["!Ref"], "AWS::StackName", "{function}");
    }
    let resources = template["Resources"].as_object().unwrap().values();
    let names = |kind: &str, property: &str| {
        let of_kind = resources.clone().filter(|resource| resource["Type"] == kind);
        let names = of_kind.map(|resource| resource["Properties"][property]["!Sub"].as_str().expect("a name"));
        let mut names: Vec<_> =
            names.map(|name| name.strip_prefix("${AWS::StackName}-").expect("the prefix")).collect();
        names.sort_unstable();
        names
    };
    let mut queues: Vec<_> = consumers().flat_map(|name| [name.clone(), format!("{name}-dlq")]).collect();
    queues.sort_unstable();
    assert_eq!(names("AWS::SQS::Queue", "QueueName"), queues);
    let functions = names("AWS::Serverless::Function", "FunctionName");
    for name in consumers().chain(["console-commands".to_owned()]) {
        assert!(functions.contains(&name.as_str()), "{name}");
    }
    // A function's name has at most 64 characters, so docs/DEPLOY.md limits the stack's name to 45.
    let longest = functions.iter().map(|name| name.len() + 1).max();
    assert_eq!(longest, Some(64 - 45));
}

/// E12: with `KmsKeyArn`, the environments of all functions are encrypted with this key, and Lambda may decrypt them in
/// the name of each role.
#[test]
fn a_key_of_ones_own_encrypts_all_environments() {
    let template = template();
    let key = &template["Globals"]["Function"]["KmsKeyArn"]["!If"];
    assert_eq!((&key[0], &key[1]["!Ref"]), (&Value::from("HasKmsKey"), &Value::from("KmsKeyArn")));
    let policy = &template["Resources"]["KeyAccess"]["Properties"]["PolicyDocument"]["Statement"];
    assert_eq!(policy.as_array().unwrap().len(), 1);
    assert_eq!((&policy[0]["Action"], &policy[0]["Resource"]["!Ref"]), (&"kms:Decrypt".into(), &"KmsKeyArn".into()));
    assert!(policy[0]["Condition"]["StringLike"]["kms:EncryptionContext:aws:lambda:FunctionArn"].is_object());
}
