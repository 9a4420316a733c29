//! Structured outputs.

use serde_json::{Map, Value};

use crate::json::Limits;
use crate::object::Object;
use crate::sensitive::Sensitive;

/// The most outputs of a report that are kept. Vapi allows far fewer per assistant.
const MAX_OUTPUTS: usize = 100;

/// The structured outputs of a report, by their ids: `{id: {name, result, ...}}`.
///
/// Bodies have them in the message, the artifact, the analysis or the call, as an object by id, as a list, or as text
/// with either. The first place that has an output counts.
pub(super) fn read(message: &Object<'_>, limits: Limits) -> Option<Sensitive<Value>> {
    let places = [
        message.written_json("structuredOutputs", limits),
        message.object("artifact").written_json("artifact.structuredOutputs", limits),
        message.object("analysis").written_json("analysis.structuredOutputs", limits),
        message.object("call").written_json("call.structuredOutputs", limits),
    ];
    let mut outputs = Map::new();
    for (id, output) in places.into_iter().flatten().flat_map(by_id) {
        if outputs.len() < MAX_OUTPUTS || outputs.contains_key(&id) {
            outputs.entry(id).or_insert(output);
        }
    }
    (!outputs.is_empty()).then(|| Value::Object(outputs).into())
}

/// Outputs with their ids. An item of a list has its id in a field; without one, its name or its index identifies it.
fn by_id(outputs: Value) -> Vec<(String, Value)> {
    match outputs {
        Value::Object(map) => map.into_iter().collect(),
        Value::Array(items) => items.into_iter().enumerate().map(|(index, item)| (id(index, &item), item)).collect(),
        _ => Vec::new(),
    }
}

fn id(index: usize, output: &Value) -> String {
    let field = |name: &str| output.get(name)?.as_str().filter(|id| !id.is_empty()).map(str::to_owned);
    ["id", "structuredOutputId", "name"].into_iter().find_map(field).unwrap_or_else(|| index.to_string())
}
