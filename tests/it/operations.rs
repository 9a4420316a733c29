//! Alarms, metrics and privileged functions agree with the documents for operators.

use std::collections::BTreeSet;
use std::fs;

use ringfence_harness::testing::TestDatabase;
use ringfence_runtime::metrics::{FAILED, Measure, Metric};
use strum::IntoEnumIterator as _;

fn read(path: &str) -> String {
    fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Words after each occurrence of `before`, up to one of `end`.
fn after<'a>(text: &'a str, before: &str, end: &[char]) -> BTreeSet<&'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split(end).next()).collect()
}

/// Names of the alarms, without the stack's name.
fn alarms(template: &str) -> BTreeSet<&str> {
    after(template, "AlarmName: !Sub ${AWS::StackName}", &['\n'])
}

/// B11, C4: the runbook explains each alarm.
#[test]
fn each_alarm_is_in_the_runbook() {
    let (template, runbook) = (read("template.yaml"), read("docs/MONITORING.md"));
    let alarms = alarms(&template);
    assert_eq!(alarms.len(), template.matches("Type: AWS::CloudWatch::Alarm\n").count(), "{alarms:?}");
    let events = ["call-started", "call-ended", "transcript", "end-of-call-report", "recording-upload"];
    for alarm in alarms {
        // The alarms of all events have one common entry.
        let of_event =
            events.iter().find_map(|event| Some(format!("-EVENT{}", alarm.strip_prefix(&format!("-{event}"))?)));
        let is_there = |name: &str| runbook.contains(&format!("`{name}`"));
        assert!(is_there(alarm) || of_event.as_deref().is_some_and(is_there), "{alarm}");
    }
}

/// C4: alarms and dashboard use metrics that the code publishes, by name and namespace, and the logging charter lists
/// all of them.
#[test]
fn watched_metrics_are_published() {
    let published: BTreeSet<&str> =
        Metric::iter().map(<&str>::from).chain(Measure::iter().map(<&str>::from)).chain([FAILED]).collect();
    let template = read("template.yaml");
    let of_alarms = after(&template, "Namespace: !Ref AWS::StackName\n      MetricName: ", &['\n']);
    let of_dashboard = after(&template, "[\"${AWS::StackName}\", \"", &['"']);
    assert!(of_alarms.len() >= 8 && of_dashboard.len() > 20, "{of_alarms:?} {of_dashboard:?}");
    for name in of_alarms.union(&of_dashboard) {
        assert!(published.contains(name), "nobody publishes {name}");
    }
    let charter = read("docs/TELEMETRY.md");
    for name in published {
        assert!(charter.contains(&format!("`{name}`")), "the charter does not say what {name} is");
    }
}

/// docs/SECURITY.md names every function that reads more than one org, with its owner.
#[tokio::test]
async fn each_function_with_its_owners_rights_is_named() {
    let database = TestDatabase::new().await;
    let query = "SELECT p.proname || ' ' || replace(o.rolname, 'ringfence_', '') FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner
        WHERE p.prosecdef AND p.pronamespace = 'public'::regnamespace";
    let rows = database.superuser().await.query(query, &[]).await.unwrap();
    let text = read("docs/SECURITY.md");
    let lines = text.lines().filter(|line| line.contains("| ops |") || line.contains("| router |"));
    let named: usize = lines.map(|line| line.split('|').nth(1).unwrap().matches('`').count() / 2).sum();
    assert_eq!(rows.len(), named);
    for row in rows {
        let named: String = row.get(0);
        let (function, owner) = named.split_once(' ').unwrap();
        let line = text.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{function}`")));
        assert!(line.is_some_and(|line| line.contains(&format!("| {owner} |"))), "{named}");
    }
}
