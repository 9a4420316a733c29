//! Rules of AWS that an emulator does not enforce, checked in template.yaml.

use std::collections::BTreeMap;
use std::time::Duration;

use ringfence_harness::local::queues::consumers;
use ringfence_identity::{MasterKeys, Ring};
use ringfence_protocol::maintenance::Job;
use ringfence_runtime::envelope::MAX_MESSAGE_BYTES;
use serde_json::{Map, Value};

use crate::template::{TEMPLATE, between, schedules, template};

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

const DEPLOY: &str = include_str!("../../docs/DEPLOY.md");

/// E12: a running environment is a connection. docs/DEPLOY.md has the number for every function: the parameter that
/// limits it, or for jobs the number that the schedules and the timeout give.
#[test]
fn the_connections_of_every_function_are_documented() {
    let template = template();
    let section = between(DEPLOY, "\n## Connections to the database\n", "\n### Poolers");
    let rows: Vec<Vec<_>> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let connections = |binary: &str| {
        let mut of_function = rows.iter().filter(|row| row[0].contains(&format!("`{binary}`")));
        let row = of_function.next().unwrap_or_else(|| panic!("no row for {binary}"));
        assert!(of_function.next().is_none(), "{binary}");
        row[1]
    };
    let resources = template["Resources"].as_object().unwrap();
    for (name, function) in resources.iter().filter(|(_, one)| one["Type"] == "AWS::Serverless::Function") {
        let documented = connections(function["Metadata"]["BuildProperties"]["Binary"].as_str().unwrap());
        let mapping = resources.values().find(|one| {
            one["Type"] == "AWS::Lambda::EventSourceMapping"
                && one["Properties"]["FunctionName"]["!GetAtt"] == format!("{name}.Arn")
        });
        if let Some(mapping) = mapping {
            let limit = mapping["Properties"]["ScalingConfig"]["MaximumConcurrency"]["!Ref"].as_str().unwrap();
            assert!(documented.starts_with(&format!("`{limit}`")), "{name}: {documented}");
            assert!(template["Parameters"][limit]["MinValue"].as_i64() >= Some(2), "Lambda's minimum: {limit}");
        }
    }
    let timeout = template["Resources"]["MaintenanceFunction"]["Properties"]["Timeout"].as_u64().unwrap();
    let jobs: u64 = schedules(&template, "MaintenanceFunction")
        .into_iter()
        .map(|every| timeout.div_ceil(u64::from(every * 60)))
        .sum();
    assert!(connections("maintenance").starts_with(&format!("{jobs}:")), "{jobs}");
    let webhook = &template["Resources"]["WebhookFunction"]["Properties"]["ReservedConcurrentExecutions"]["!If"];
    assert_eq!(webhook[1]["!Ref"], "WebhookMaxConcurrency");
}

/// E12: a recording that is being fetched is in flight, so that only more of them than workers are an alarm.
#[test]
fn the_alarm_of_waiting_recordings_is_above_the_concurrency() {
    let template = template();
    let alarm = &template["Resources"]["RecordingUploadBacklogAlarm"]["Properties"];
    assert_eq!(alarm["Threshold"]["!Ref"], "RecordingConcurrency");
    assert_eq!(alarm["ComparisonOperator"], "GreaterThanThreshold");
    let stage = &template["Resources"]["WebSocketStage"]["Properties"]["DefaultRouteSettings"];
    assert_eq!(stage["ThrottlingRateLimit"]["!Ref"], "ViewerThrottleRate");
}

/// B6, E12: `clean-claims` removes more events than the throttle lets in by default, also if each of its statements
/// takes a tenth of a second.
#[test]
fn claims_are_removed_faster_than_webhooks_may_arrive() {
    let template = template();
    let slow = Duration::from_millis(100);
    let timeout =
        Duration::from_secs(template["Resources"]["MaintenanceFunction"]["Properties"]["Timeout"].as_u64().unwrap());
    let batches =
        (timeout.as_secs_f64() - maintenance::RESERVE.as_secs_f64()) / (slow + maintenance::rest(slow)).as_secs_f64();
    let per_run = batches * f64::from(maintenance::ROWS_PER_STATEMENT);
    let interval = Job::CleanClaims.interval();
    assert!(interval > timeout, "two runs are not at work at the same time");
    let allowed = template["Parameters"]["ThrottleRate"]["Default"].as_u64().unwrap();
    let removed = per_run / interval.as_secs_f64();
    assert!(removed > 1.2 * f64::from(u32::try_from(allowed).unwrap()), "{removed} per second");
}

/// E12: every URL that people and Vapi get begins with `PublicBaseUrl`, else the domain name, else API Gateway's name.
#[test]
fn every_url_begins_with_the_domain_name() {
    let template = template();
    let base = &template["Outputs"]["BaseUrl"]["Value"];
    let (first, rest) = (&base["!If"], &base["!If"][2]["!If"]);
    assert_eq!((&first[0], &first[1]["!Ref"]), (&"HasPublicBaseUrl".into(), &"PublicBaseUrl".into()));
    assert_eq!((&rest[0], &rest[1]["!Sub"]), (&"HasDomain".into(), &"https://${DomainName}".into()));
    assert_eq!(rest[2]["!GetAtt"], "HttpApi.ApiEndpoint");
    let admin = &template["Resources"]["AdminFunction"]["Properties"]["Environment"]["Variables"];
    assert_eq!(&admin["PUBLIC_BASE_URL"], base);
    let urls: Vec<_> =
        template["Outputs"].as_object().unwrap().values().map(|output| &output["Value"]["!Sub"]).collect();
    let own: Vec<_> = urls.iter().filter(|url| url[1]["BaseUrl"].is_object()).collect();
    assert_eq!(own.len(), 7);
    for url in own {
        assert!(url[0].as_str().unwrap().starts_with("${BaseUrl}/"), "{url}");
        assert_eq!(&url[1]["BaseUrl"], base);
    }
    // Nothing else reads the name that API Gateway gave.
    assert_eq!(TEMPLATE.matches("HttpApi.ApiEndpoint").count(), 9);
    for resource in ["Domain", "DomainMapping"] {
        assert_eq!(template["Resources"][resource]["Condition"], "HasDomain", "{resource}");
    }
}

/// E12: no ARN, URL or link names the partition of the public regions.
#[test]
fn the_template_works_in_every_partition() {
    for line in TEMPLATE.lines().filter(|line| !line.trim_start().starts_with('#')) {
        assert!(!line.contains("arn:aws:"), "{line}");
        if line.contains("amazonaws.com") {
            // Service principals have this name everywhere.
            assert!(line.contains("Principal: ") || line.contains("Service: "), "{line}");
        }
        if line.contains("console.aws.amazon.com") {
            assert_eq!(line.trim(), "aws: {Console: console.aws.amazon.com}");
        }
    }
}

/// C4, E12: a new stack raises no alarm before the first maintenance run, and scanners, whose requests have no route,
/// raise none for webhooks.
#[test]
fn quiet_alarms_have_their_reasons() {
    let template = template();
    let silent = &template["Resources"]["MaintenanceSilentAlarm"]["Properties"];
    assert_eq!(silent["TreatMissingData"], "missing");
    assert_eq!(silent["InsufficientDataActions"], silent["AlarmActions"]);
    assert_eq!(silent["Period"].as_u64().unwrap() * silent["EvaluationPeriods"].as_u64().unwrap(), 30 * 60);
    for (name, alarm) in template["Resources"].as_object().unwrap() {
        assert_ne!(alarm["Properties"]["TreatMissingData"], "breaching", "{name}");
    }
    let filter = &template["Resources"]["WebhookClientErrors"]["Properties"];
    assert_eq!(filter["FilterPattern"], r#"{ $.route = "POST /vapi*" && $.status = "4*" }"#);
    let alarm = &template["Resources"]["HttpClientErrorsAlarm"]["Properties"];
    let metric = &filter["MetricTransformations"][0];
    assert_eq!((&alarm["MetricName"], &alarm["Namespace"]), (&metric["MetricName"], &metric["MetricNamespace"]));
    // The filter reads these fields of the access log.
    let format = template["Resources"]["HttpStage"]["Properties"]["AccessLogSettings"]["Format"].as_str().unwrap();
    assert!(format.contains(r#""route":"$context.routeKey""#) && format.contains(r#""status":"$context.status""#));
}

/// E12: what a new default of AWS could change is stated: the size of a message, which the code's limit needs, and the
/// method of an invocation.
#[test]
fn sizes_and_methods_do_not_depend_on_defaults() {
    let template = template();
    for (name, resource) in template["Resources"].as_object().unwrap() {
        let properties = &resource["Properties"];
        if resource["Type"] == "AWS::SQS::Queue" {
            let size = properties["MaximumMessageSize"].as_u64().unwrap_or_else(|| panic!("{name}"));
            assert!(size >= u64::try_from(MAX_MESSAGE_BYTES).unwrap(), "{name}");
        }
        if resource["Type"] == "AWS::ApiGatewayV2::Integration" {
            assert_eq!(properties["IntegrationMethod"], "POST", "{name}");
        }
    }
}
