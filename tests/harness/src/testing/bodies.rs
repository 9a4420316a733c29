//! Sample bodies from `tests/samples`: invented data in the shape of Vapi's messages.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../samples"))
}

/// Bytes of a sample, by its file name without `.json`.
#[must_use]
pub fn sample_bytes(name: &str) -> Vec<u8> {
    fs::read(folder().join(format!("{name}.json"))).unwrap_or_else(|error| panic!("sample {name}: {error}"))
}

/// JSON of a sample.
#[must_use]
pub fn sample(name: &str) -> Value {
    serde_json::from_slice(&sample_bytes(name)).expect("samples are JSON")
}

/// Sorted names of all samples that are webhook bodies.
#[must_use]
pub fn sample_names() -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder())
        .expect("the samples are there")
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .filter(|name| name != "hmac-vectors")
        .collect();
    names.sort();
    names
}
