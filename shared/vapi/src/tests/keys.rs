//! Equal facts have equal keys; different facts have different keys.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{received_at, sample_json, stored};
use crate::{EventKey, Message, parse};

fn key(body: &Value) -> EventKey {
    stored(body).key
}

fn key_received_at(body: &Value, received_at: Timestamp) -> EventKey {
    match parse(body.to_string().as_bytes(), received_at).unwrap().message {
        Message::Stored(stored) => stored.key,
        other => panic!("not stored: {other:?}"),
    }
}

/// The facts in a transcript's key.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    call: &'static str,
    role: &'static str,
    time_ms: i64,
    text: String,
}

impl Said {
    fn body(&self) -> Value {
        json!({"message": {
            "type": "transcript", "transcriptType": "final", "timestamp": self.time_ms,
            "role": self.role, "transcript": self.text, "call": {"id": self.call},
        }})
    }
}

/// Few values each, so that two generated ones are often equal.
fn said() -> impl Strategy<Value = Said> {
    let call = prop::sample::select(vec!["call-1", "call-2"]);
    let role = prop::sample::select(vec!["user", "assistant"]);
    (call, role, 1_789_398_000_000..1_789_398_000_002_i64, "[ab]{1,2}").prop_map(|(call, role, time_ms, text)| Said {
        call,
        role,
        time_ms,
        text,
    })
}

/// Some of the facts in a report's key.
#[derive(Clone, Debug, PartialEq)]
struct Reported {
    time_ms: i64,
    reason: Option<&'static str>,
    cost: Option<u8>,
    summary: Option<String>,
    transcript: Option<String>,
    data: Option<Value>,
    recording: Option<&'static str>,
}

impl Reported {
    fn body(&self) -> Value {
        json!({"message": {
            "type": "end-of-call-report", "timestamp": self.time_ms, "endedReason": self.reason, "cost": self.cost,
            "summary": self.summary, "transcript": self.transcript, "analysis": {"structuredData": self.data},
            "recordingUrl": self.recording, "call": {"id": "call-1"},
        }})
    }
}

fn reported() -> impl Strategy<Value = Reported> {
    let reason = prop::sample::select(vec![None, Some("voicemail"), Some("customer-busy")]);
    let data = prop::sample::select(vec![None, Some(json!({"a": 1})), Some(json!({"a": [1]})), Some(json!({"b": 1}))]);
    let recording = prop::sample::select(vec![None, Some("https://s.example/a.wav")]);
    (
        1_789_398_000_000..1_789_398_000_002_i64,
        reason,
        prop::option::of(0..2_u8),
        prop::option::of("[ab]"),
        prop::option::of("[ab]"),
        data,
        recording,
    )
        .prop_map(|(time_ms, reason, cost, summary, transcript, data, recording)| Reported {
            time_ms,
            reason,
            cost,
            summary,
            transcript,
            data,
            recording,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn transcripts_have_equal_keys_if_and_only_if_they_are_equal(a in said(), b in said()) {
        prop_assert_eq!(key(&a.body()) == key(&b.body()), a == b);
    }

    #[test]
    fn reports_have_equal_keys_if_and_only_if_they_are_equal(a in reported(), b in reported()) {
        prop_assert_eq!(key(&a.body()) == key(&b.body()), a == b);
    }

    #[test]
    fn one_changed_fact_changes_a_reports_key(a in reported(), field in 0..6_usize) {
        let mut b = a.clone();
        match field {
            0 => b.time_ms += 1,
            1 => b.reason = Some("silence-timed-out"),
            2 => b.cost = Some(7),
            3 => b.summary = Some("c".to_owned()),
            4 => b.transcript = Some("c".to_owned()),
            _ => b.recording = Some("https://s.example/b.wav"),
        }
        prop_assert_ne!(key(&a.body()), key(&b.body()));
    }

    #[test]
    fn the_time_of_receipt_never_matters(a in reported(), minutes in 0..60 * 24 * 365_i64) {
        let later = received_at() + SignedDuration::from_mins(minutes);
        prop_assert_eq!(key(&a.body()), key_received_at(&a.body(), later));
    }
}

proptest! {
    // Each case parses two whole reports.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn presigned_links_never_matter(signature in "[0-9a-f]{8}", expires in "2026-09-14T1[5-9]:00:00.000Z") {
        let body = sample_json("end-of-call-report.inbound-full");
        let mut again = body.clone();
        let artifact = again["message"]["artifact"].as_object_mut().unwrap();
        for (name, link) in artifact.iter_mut() {
            if name.starts_with("presigned") {
                *link = json!(format!("https://storage.example/a.wav?X-Amz-Signature={signature}"));
            }
        }
        artifact.insert("presignedUrlsExpiresAt".to_owned(), json!(expires));
        let link = again["message"]["recordingUrl"].as_str().unwrap().to_owned();
        again["message"]["recordingUrl"] = json!(format!("{link}?X-Amz-Signature={signature}"));
        prop_assert_eq!(key(&body), key(&again));
    }
}

#[test]
fn both_literals_and_both_notations_of_a_time_give_one_key() {
    let body = sample_json("transcript.user-final");
    let mut literal = body.clone();
    literal["message"]["type"] = json!("transcript[transcriptType=\"final\"]");
    let mut iso = body.clone();
    let time = stored(&body).event.message_time().unwrap();
    iso["message"]["timestamp"] = json!(time.to_string());
    let mut fractional = body.clone();
    fractional["message"]["timestamp"] = json!(body["message"]["timestamp"].as_f64().unwrap() + 0.25);
    for same in [literal, iso, fractional] {
        assert_eq!(key(&same), key(&body));
    }
}

#[test]
fn a_transcripts_key_ignores_other_facts_of_the_call() {
    let body = sample_json("transcript.user-final");
    let mut again = body.clone();
    again["message"]["customer"] = json!(null);
    again["message"]["call"] = json!({"id": body["message"]["call"]["id"]});
    assert_eq!(key(&again), key(&body));
}

#[test]
fn without_a_time_the_position_tells_a_repetition_from_a_redelivery() {
    let yes = |messages: Value| {
        json!({"message": {
            "type": "transcript", "transcriptType": "final", "role": "user", "transcript": "Yes.",
            "call": {"id": "call-1"}, "artifact": {"messages": messages},
        }})
    };
    let question = json!({"role": "bot", "message": "Sure?"});
    let answer = json!({"role": "user", "message": "Yes."});
    let first = yes(json!([question, answer]));
    let first_not_yet_appended = yes(json!([question]));
    let second = yes(json!([question, answer, question, answer]));
    let second_not_yet_appended = yes(json!([question, answer, question]));
    assert_eq!(key(&first), key(&first));
    assert_eq!(key(&first), key(&first_not_yet_appended));
    assert_eq!(key(&second), key(&second_not_yet_appended));
    assert_ne!(key(&first), key(&second));
}

#[test]
fn a_status_updates_key_tells_its_facts_apart() {
    let body = sample_json("status-update.forwarding");
    for (pointer, other) in [
        ("/message/status", json!("in-progress")),
        ("/message/timestamp", json!(1_789_398_144_481_i64)),
        ("/message/destination/number", json!("+15555550156")),
        ("/message/call/id", json!("call-2")),
    ] {
        let mut changed = body.clone();
        *changed.pointer_mut(pointer).unwrap() = other;
        assert_ne!(key(&changed), key(&body), "{pointer}");
    }
    let mut redelivered = body.clone();
    redelivered["message"]["artifact"] = json!({});
    redelivered["message"]["messages"] = json!([]);
    assert_eq!(key(&redelivered), key(&body));
}

/// If the derivation changed, redeliveries during a deployment would be applied twice.
#[test]
fn the_key_of_a_known_body_stays_the_same() {
    for (name, hash) in [
        ("status-update.ended", "0975be6444bfc2297101071fba1c98588e9b3c884950bdb941b1ef2882f3a90e"),
        ("transcript.user-final", "c46998801e4bd657ec79d8ce463e33759e7e12f84dd850ff90decc260c683200"),
        ("end-of-call-report.inbound-full", "047693651d6b5216209d9eb65bd8d9987d6f2ece0af570c8b0d27c1ae8722657"),
    ] {
        let key = key(&sample_json(name));
        assert_eq!(key.as_str().rsplit(':').next(), Some(hash), "{name}");
    }
}
