//! Tests over whole bodies: Vapi's samples, mutations of them, and event keys.

mod facts;
mod keys;
mod messages;
mod reports;
mod samples;
mod tolerance;

use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::Value;

use crate::{BadRequest, Event, Message, Parsed, Report, StoredEvent, parse};

/// A day shortly after the times of all samples.
fn received_at() -> Timestamp {
    "2026-09-14T18:00:00Z".parse().unwrap()
}

fn samples_dir() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/samples"))
}

fn sample(name: &str) -> String {
    let path = samples_dir().join(format!("{name}.json"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sample_json(name: &str) -> Value {
    serde_json::from_str(&sample(name)).unwrap()
}

fn parse_text(body: &str) -> Result<Parsed, BadRequest> {
    parse(body.as_bytes(), received_at())
}

fn parse_json(body: &Value) -> Parsed {
    parse_text(&body.to_string()).unwrap()
}

/// The stored event in a body.
fn stored(body: &Value) -> StoredEvent {
    stored_text(&body.to_string())
}

fn stored_text(body: &str) -> StoredEvent {
    match parse_text(body).unwrap().message {
        Message::Stored(stored) => stored,
        other => panic!("not stored: {other:?}"),
    }
}

/// The report in a body.
fn report(body: &Value) -> Report {
    match stored(body).event {
        Event::EndOfCallReport(report) => *report,
        other => panic!("not a report: {other:?}"),
    }
}
