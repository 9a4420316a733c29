//! docs/REQUIREMENTS.md is complete, and the tests that it names exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Ids of all requirements.
fn ids() -> Vec<String> {
    let series = [('A', 9), ('B', 11), ('C', 6), ('D', 14), ('E', 14)];
    series.iter().flat_map(|(letter, last)| (1..=*last).map(move |number| format!("{letter}{number}"))).collect()
}

/// Sections of the document: id and text.
fn sections(document: &str) -> Vec<(String, String)> {
    let sections = document.split("\n### ").skip(1);
    sections
        .map(|section| {
            let (heading, text) = section.split_once('\n').unwrap();
            (heading.split(' ').next().unwrap().to_owned(), text.to_owned())
        })
        .collect()
}

/// Rust files in a folder and its subfolders.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every test of the workspace, as `file::test`.
fn tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    for folder in ["cli", "functions", "shared", "tests"] {
        sources(&root().join(folder), &mut files);
    }
    let mut tests = BTreeSet::new();
    for file in files {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if !line.trim_start().starts_with("#[test]") && !line.trim_start().starts_with("#[tokio::test") {
                continue;
            }
            let signature = lines.find(|line| line.contains("fn ")).unwrap();
            let name = signature.split("fn ").nth(1).unwrap().split('(').next().unwrap();
            tests.insert(format!("{stem}::{name}"));
        }
    }
    tests
}

/// Tests that a section names, in backticks after "Proved by".
fn named_tests(section: &str) -> Vec<String> {
    let Some((_, proofs)) = section.split_once("Proved by") else { return Vec::new() };
    proofs.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The list contains every id once, in order. Each is proved or says what is not built.
#[test]
fn every_requirement_has_a_test_or_is_marked_as_not_built() {
    let document = fs::read_to_string(root().join("docs/REQUIREMENTS.md")).unwrap();
    let sections = sections(&document);
    let found: Vec<_> = sections.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(found, ids());
    let tests = tests();
    for (id, text) in sections {
        let named = named_tests(&text);
        assert!(
            !named.is_empty() || text.contains("Not built yet"),
            "{id} names no test and does not say that it is not built"
        );
        for test in named {
            assert!(tests.contains(&test), "{id} names `{test}`, which does not exist");
        }
    }
}

/// C1: the required packages are dependencies of the workspace.
#[test]
fn the_demanded_packages_are_used() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for package in [
        "lambda_http",
        "lambda_runtime",
        "aws-sdk-sqs",
        "tokio-postgres",
        "postgres-native-tls",
        "serde",
        "serde_json",
        "tracing",
        "uuid",
    ] {
        assert!(manifest.contains(&format!("\n{package} = ")), "{package}");
    }
}

/// C2: the top level has the required folders.
#[test]
fn the_top_level_is_as_demanded() {
    for entry in
        ["Cargo.toml", "functions", "shared", "migrations", "template.yaml", "samconfig.toml", "tests", "README.md"]
    {
        assert!(root().join(entry).exists(), "{entry}");
    }
}
