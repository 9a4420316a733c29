//! template.yaml: the text of each resource, and the whole as JSON.

use std::collections::BTreeMap;

use saphyr::{LoadableYamlNode as _, YamlOwned};
use serde_json::{Map, Value, json};

pub(crate) const TEMPLATE: &str = include_str!("../../template.yaml");

/// Resources of the template: the text of each, by name.
pub(crate) fn resources() -> BTreeMap<&'static str, String> {
    let mut resources: BTreeMap<_, String> = BTreeMap::new();
    let mut current = None;
    let section =
        TEMPLATE.split_once("\nResources:\n").expect("resources").1.split("\nOutputs:\n").next().expect("resources");
    for line in section.lines() {
        let is_name = line.starts_with("  ") && !line[2..].starts_with([' ', '#']) && line.ends_with(':');
        if is_name {
            current = Some(line.trim().trim_end_matches(':'));
        }
        if let Some(name) = current {
            let text = resources.entry(name).or_default();
            text.push_str(line);
            text.push('\n');
        }
    }
    resources
}

/// Text between two texts.
pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("{before} in\n{text}")).1;
    rest.split(after).next().unwrap_or_default().trim()
}

/// Functions of the template: binary name and text.
pub(crate) fn functions() -> BTreeMap<String, String> {
    let resources = resources().into_values();
    let functions = resources.filter(|text| text.contains("Type: AWS::Serverless::Function\n"));
    functions.map(|text| (between(&text, "Binary: ", "}").to_owned(), text)).collect()
}

/// The template as JSON. An intrinsic function is an object with its tag: `!Ref Release` is `{"!Ref": "Release"}`.
pub(crate) fn template() -> Value {
    as_json(&YamlOwned::load_from_str(TEMPLATE).expect("YAML")[0])
}

fn as_json(node: &YamlOwned) -> Value {
    if let YamlOwned::Tagged(tag, inner) = node {
        return json!({ format!("!{}", tag.suffix): as_json(inner) });
    }
    if let Some(items) = node.as_sequence() {
        return items.iter().map(as_json).collect();
    }
    if let Some(entries) = node.as_mapping() {
        let entry = |(key, value): (&YamlOwned, &YamlOwned)| (key.as_str().expect("a name").to_owned(), as_json(value));
        return Value::Object(entries.iter().map(entry).collect::<Map<_, _>>());
    }
    if let Some(text) = node.as_str() {
        return json!(text);
    }
    node.as_integer().map(Value::from).or_else(|| node.as_bool().map(Value::from)).unwrap_or_default()
}

/// Intervals of the schedules that invoke a function, in minutes.
pub(crate) fn schedules(template: &Value, function: &str) -> Vec<u32> {
    let rules = template["Resources"].as_object().unwrap().values().filter(|rule| rule["Type"] == "AWS::Events::Rule");
    let of_function =
        rules.filter(|rule| rule["Properties"]["Targets"][0]["Arn"]["!GetAtt"] == format!("{function}.Arn"));
    let interval = |rule: &Value| {
        let expression = rule["Properties"]["ScheduleExpression"].as_str().unwrap();
        let mut words = expression.strip_prefix("rate(").unwrap().trim_end_matches(')').split(' ');
        let count: u32 = words.next().unwrap().parse().unwrap();
        count * if words.next().unwrap().starts_with("hour") { 60 } else { 1 }
    };
    of_function.map(interval).collect()
}
