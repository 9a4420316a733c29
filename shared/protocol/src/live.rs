//! Frames: messages to viewers about a call, as specified in `docs/live-frames.schema.json`.
//!
//! Every frame except a partial transcript is derived from an event of the org's log, so that a pushed frame and a
//! resumed frame are equal. `seq` gives their order and identifies repetitions.

use jiff::Timestamp;
use ringfence_vapi::{
    Direction, Event, FailureCode, FinalTranscript, PartialTranscript, ReasonFamily, RecordingKind, Report, Sensitive,
    StatusUpdate, VapiCallId, exact_numbers,
};
use serde::{Deserialize, Serialize};

/// The version of the frame format. A client ignores frames of an unknown version.
const VERSION: u8 = 1;
/// The most bytes of JSON that the frames of one page take. API Gateway closes a connection with 1009 if a push to it is
/// over 32 KB, its limit for a WebSocket frame. The rest is for the page's other fields.
pub const PAGE_BYTES: usize = 28 * 1024;
/// The longest text in a frame, in characters.
const MAX_TEXT: usize = 4_000;
/// The longest text in a frame, in bytes of JSON. Only a text of control characters, six bytes each, reaches it before
/// [`MAX_TEXT`].
const MAX_TEXT_BYTES: usize = 20_000;

/// A frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Frame {
    /// Always 1.
    pub v: u8,
    /// The event's position in the org's log, as 16 hexadecimal digits: JavaScript's numbers do not hold it. Absent for a
    /// partial transcript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<String>,
    /// `Call.id`.
    pub call_id: VapiCallId,
    /// The time at which Vapi created the message, or the time of receipt if the message has no time.
    pub at: Timestamp,
    /// The frame's type and its fields.
    #[serde(flatten)]
    pub news: News,
}

exact_numbers!(Frame);

/// The content of a frame: its type, with the fields that a screen needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", remote = "Self")]
pub enum News {
    /// A call begins or continues.
    #[serde(rename = "call.status")]
    CallStatus(CallStatus),
    /// A call has ended.
    #[serde(rename = "call.ended")]
    CallEnded(CallEnded),
    /// A partial transcript.
    #[serde(rename = "transcript.partial")]
    TranscriptPartial(Speech),
    /// A final transcript.
    #[serde(rename = "transcript.final")]
    TranscriptFinal(Speech),
    /// The report of a call.
    #[serde(rename = "call.report")]
    CallReport(CallReport),
    /// An event of the call could not be applied.
    #[serde(rename = "operation.failed")]
    OperationFailed(OperationFailed),
    /// A recording is stored and can be played.
    #[serde(rename = "recording.ready")]
    RecordingReady(RecordingReady),
}

exact_numbers!(News);

/// A status of a call that begins or continues.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallStatus {
    /// Vapi's text. Screens rank the status, because frames of one call may arrive in any order.
    pub status: String,
    /// `Call.type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_type: Option<String>,
    /// The direction of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// The number of the other party.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_number: Option<Sensitive<String>>,
    /// The org's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub our_number: Option<Sensitive<String>>,
    /// Vapi's id of the assistant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assistant_id: Option<String>,
}

/// Why a call ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallEnded {
    /// Vapi's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_reason: Option<String>,
    /// The family of the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_family: Option<ReasonFamily>,
}

/// The text of a partial or final transcript.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speech {
    /// `user`, `assistant`, or one that Vapi adds.
    pub speaker: String,
    /// The text, at most 4 000 characters.
    pub text: Sensitive<String>,
    /// Whether the text was longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallReport {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The duration in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<i64>,
    /// Vapi's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_reason: Option<String>,
    /// The family of the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_family: Option<ReasonFamily>,
    /// US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// At most 4 000 characters of the summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Sensitive<String>>,
}

/// An event that could not be applied. Its row in `failed_operations` has more details.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationFailed {
    /// Vapi's name of the event's type.
    pub event_type: String,
    /// The failure code.
    pub code: FailureCode,
    /// `retrying` or `dead`.
    pub state: String,
}

/// A stored recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingReady {
    /// The kind of the recording.
    pub recording: RecordingKind,
    /// The size of the recording.
    pub bytes: u64,
}

/// An entry of the org's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", remote = "Self")]
pub enum Logged {
    /// A failed operation of a call, reported by Ringfence itself.
    OperationFailed {
        /// The call.
        call: CallReference,
        #[serde(flatten)]
        failed: OperationFailed,
    },
    /// A recording of a call is stored.
    RecordingReady {
        /// The call.
        call: CallReference,
        #[serde(flatten)]
        ready: RecordingReady,
    },
    /// A typed event from Vapi.
    #[serde(untagged)]
    Event(Box<Event>),
}

exact_numbers!(Logged);

/// A call, identified by its id only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallReference {
    /// `Call.id`.
    pub id: VapiCallId,
}

impl Frame {
    /// The frame of an event at a position of the log. None: the event appears only in the timeline.
    #[must_use]
    pub fn of_event(seq: i64, at: Timestamp, event: &Event) -> Option<Self> {
        let news = match event {
            Event::CallStarted(update) => News::CallStatus(CallStatus::of(update)),
            Event::CallEnded(update) => News::CallEnded(CallEnded::of(update)),
            Event::Transcript(transcript) => News::TranscriptFinal(Speech::of_final(transcript)),
            Event::EndOfCallReport(report) => News::CallReport(CallReport::of(report)),
            Event::CallEvent(_) => return None,
        };
        Some(Self { v: VERSION, seq: Some(position(seq)), call_id: event.call().id.clone(), at: in_ms(at), news })
    }

    /// The frame of a log entry at a position.
    #[must_use]
    pub fn of_logged(seq: i64, at: Timestamp, logged: Logged) -> Option<Self> {
        match logged {
            Logged::Event(event) => Self::of_event(seq, at, &event),
            Logged::OperationFailed { call, failed } => {
                Some(Self::of_call(seq, at, call, News::OperationFailed(failed)))
            }
            Logged::RecordingReady { call, ready } => Some(Self::of_call(seq, at, call, News::RecordingReady(ready))),
        }
    }

    /// The size of the frame as JSON.
    #[must_use]
    pub fn json_bytes(&self) -> usize {
        serde_json::to_string(self).map_or(0, |json| json.len())
    }

    fn of_call(seq: i64, at: Timestamp, call: CallReference, news: News) -> Self {
        Self { v: VERSION, seq: Some(position(seq)), call_id: call.id, at: in_ms(at), news }
    }

    /// The frame of a partial transcript.
    #[must_use]
    pub fn of_partial(at: Timestamp, partial: &PartialTranscript) -> Self {
        let speech = Speech::new(&partial.role, partial.text.expose());
        let call_id = partial.call.id.clone();
        Self { v: VERSION, seq: None, call_id, at: in_ms(at), news: News::TranscriptPartial(speech) }
    }
}

/// Texts of positions have the order of the positions.
fn position(seq: i64) -> String {
    format!("{seq:016x}")
}

impl CallStatus {
    fn of(update: &StatusUpdate) -> Self {
        let StatusUpdate { call, status, .. } = update;
        Self {
            status: status.clone(),
            call_type: call.call_type.clone(),
            direction: call.direction,
            customer_number: call.customer_number.clone(),
            our_number: call.our_number.clone(),
            assistant_id: call.assistant_id.clone(),
        }
    }
}

impl CallEnded {
    fn of(update: &StatusUpdate) -> Self {
        Self { ended_reason: update.ended_reason.clone(), reason_family: update.reason_family }
    }
}

impl Speech {
    fn of_final(transcript: &FinalTranscript) -> Self {
        Self::new(&transcript.role, transcript.text.expose())
    }

    fn new(speaker: &str, text: &str) -> Self {
        let shown = beginning(text);
        Self { speaker: speaker.to_owned(), truncated: shown.len() < text.len(), text: shown.to_owned().into() }
    }
}

impl CallReport {
    fn of(report: &Report) -> Self {
        Self {
            started_at: report.started_at,
            ended_at: report.ended_at,
            duration_seconds: report.duration_seconds,
            ended_reason: report.ended_reason.clone(),
            reason_family: report.reason_family,
            cost: report.cost,
            summary: report.summary.as_ref().map(|summary| beginning(summary.expose()).to_owned().into()),
        }
    }
}

/// Cuts a time to milliseconds, as Vapi gives it, because the database stores fewer digits than the clock has.
fn in_ms(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

/// The beginning of a text, at most as long as a frame allows.
fn beginning(text: &str) -> &str {
    let mut bytes = 0;
    let mut characters = text.char_indices().enumerate();
    let end = characters.find_map(|(count, (index, character))| {
        bytes += json_bytes(character);
        (count == MAX_TEXT || bytes > MAX_TEXT_BYTES).then_some(index)
    });
    &text[..end.unwrap_or(text.len())]
}

/// The most bytes that a character takes in a JSON string.
fn json_bytes(character: char) -> usize {
    match character {
        '"' | '\\' => 2,
        _ if character.is_control() => 6,
        _ => character.len_utf8(),
    }
}

/// A message of a client of the WebSocket API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum ClientMessage {
    /// Asks for a `pong`.
    Ping,
    /// Asks for the log since `cursor`, or without a cursor for the current end of the log.
    Resume {
        #[serde(default)]
        cursor: Option<String>,
    },
}

/// A message to a client that is not a pushed frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct ServerMessage {
    /// Always 1.
    pub v: u8,
    #[serde(flatten)]
    pub reply: LiveReply,
}

exact_numbers!(ServerMessage);

/// The reply to a [`ClientMessage`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum LiveReply {
    Pong,
    /// A part of the log. `more`: the log continues behind it.
    Page {
        frames: Vec<Frame>,
        cursor: String,
        more: bool,
    },
    /// The log does not reach back to the client's cursor. The client must reload all data and resume from `cursor`.
    Reset {
        cursor: String,
    },
    /// The connection is unknown or has expired.
    Expired,
    Error {
        message: String,
    },
}

impl From<LiveReply> for ServerMessage {
    fn from(reply: LiveReply) -> Self {
        Self { v: VERSION, reply }
    }
}

#[cfg(test)]
mod tests {
    use ringfence_vapi::{Message, parse};
    use serde_json::json;

    use super::*;

    fn received_at() -> Timestamp {
        "2026-09-14T15:02:40Z".parse().unwrap()
    }

    fn message(body: &serde_json::Value) -> Message {
        parse(body.to_string().as_bytes(), received_at()).unwrap().message
    }

    fn frame(body: &serde_json::Value) -> Option<Frame> {
        let Message::Stored(stored) = message(body) else { panic!("not a stored message") };
        Frame::of_event(7, received_at(), &stored.event)
    }

    fn transcript(kind: &str, text: &str) -> serde_json::Value {
        json!({"message": {"type": "transcript", "transcriptType": kind, "role": "user", "transcript": text,
            "timestamp": 1_789_398_160_000_u64, "call": {"id": "c1"}}})
    }

    #[test]
    fn a_frame_is_flat_and_has_what_a_screen_needs() {
        let body = json!({"message": {"type": "status-update", "status": "ringing", "call": {
            "id": "c1", "type": "inboundPhoneCall", "customer": {"number": "+15555550142"}}}});
        assert_eq!(
            serde_json::to_value(frame(&body)).unwrap(),
            json!({"v": 1, "seq": "0000000000000007", "call_id": "c1", "at": "2026-09-14T15:02:40Z", "type": "call.status",
                "status": "ringing", "call_type": "inboundPhoneCall", "direction": "inbound",
                "customer_number": "+15555550142"})
        );
    }

    #[test]
    fn the_longest_frame_fits_into_a_page() {
        // Each character takes six bytes in JSON.
        let text = "\u{1}".repeat(100_000);
        let frame = frame(&transcript("final", &text)).unwrap();
        let News::TranscriptFinal(Speech { truncated, .. }) = &frame.news else { panic!("not a transcript") };
        assert!(truncated);
        let bytes = serde_json::to_vec(&frame).unwrap().len();
        assert!(bytes > 18_000 && bytes < PAGE_BYTES, "{bytes}");

        let report = json!({"message": {"type": "end-of-call-report", "endedReason": text, "analysis": {"summary": text},
            "call": {"id": "c".repeat(100)}}});
        let frame = self::frame(&report).unwrap();
        assert!(frame.json_bytes() < PAGE_BYTES, "{}", frame.json_bytes());
    }

    #[test]
    fn a_text_of_ordinary_characters_is_cut_by_their_number() {
        assert_eq!(beginning(&"\u{1f600}".repeat(5_000)).chars().count(), MAX_TEXT);
        assert_eq!(beginning("yes"), "yes");
        assert_eq!(beginning(&"\u{1}".repeat(5_000)).len(), MAX_TEXT_BYTES / 6);
    }

    #[test]
    fn a_partial_transcript_has_no_place_in_the_log() {
        let Message::Partial(partial) = message(&transcript("partial", "I would")) else { panic!("not partial") };
        let frame = serde_json::to_value(Frame::of_partial(received_at(), &partial)).unwrap();
        assert_eq!(frame.get("seq"), None);
        assert_eq!(frame["type"], "transcript.partial");
        assert_eq!(frame["text"], "I would");
    }

    #[test]
    fn an_event_of_the_timeline_makes_no_frame() {
        assert_eq!(frame(&json!({"message": {"type": "hang", "call": {"id": "c1"}}})), None);
    }

    #[test]
    fn log_entries_round_trip() {
        let failed = json!({"kind": "operation-failed", "call": {"id": "c1"}, "event_type": "transcript",
            "code": "RF2001", "state": "dead"});
        let logged: Logged = serde_json::from_value(failed).unwrap();
        let frame = serde_json::to_value(Frame::of_logged(8, received_at(), logged)).unwrap();
        assert_eq!((&frame["type"], &frame["code"]), (&json!("operation.failed"), &json!("RF2001")));

        let Message::Stored(stored) = message(&transcript("final", "yes")) else { panic!("not stored") };
        let logged: Logged = serde_json::from_value(serde_json::to_value(&stored.event).unwrap()).unwrap();
        assert_eq!(logged, Logged::Event(Box::new(stored.event)));
    }
}
