//! Events of the load: the sample bodies with a different call, text and customer in each, so that every event is new.
//!
//! A body is cut into a [`Template`] once. The content of its gaps is computed from a number alone, so that pgbench,
//! which can only count, sends the same events in the same order as the clients of the webhooks.

use std::collections::BTreeMap;
use std::fs;

use bytes::Bytes;
use jiff::Timestamp;
use ringfence_vapi::{Message, StoredEvent, parse};
use serde_json::Value;
use strum::{EnumIter, IntoStaticStr};

use super::site::Site;
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::lambda::Request;

/// A kind of load.
#[derive(Clone, Copy, Debug, EnumIter, IntoStaticStr, PartialEq, Eq)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum Kind {
    CallStarted,
    Transcript,
    CallEnded,
    #[strum(serialize = "report, 30 KB")]
    Report,
    #[strum(serialize = "report, 1 MB")]
    LargeReport,
    /// Transcripts that were applied before.
    Duplicate,
}

/// Position of an event among all events of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The twelve digits at the end of the call's id.
    pub(super) call: u64,
    /// Sixteen digits that differ for each event of a call.
    pub(super) number: u64,
    /// The customer's number without `+1`.
    pub(super) customer: u64,
}

/// A gap in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    Call,
    Number,
    Customer,
    /// The time at which the event is sent. Only events that a section makes itself have it.
    Now,
}

/// A part of a template.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Text(String),
    Gap(Gap),
}

/// A text with gaps.
#[derive(Clone, Debug)]
pub(super) struct Template(pub(super) Vec<Part>);

/// Events of one kind.
#[derive(Clone, Debug)]
pub(super) struct Events {
    pub(super) kind: Kind,
    /// The webhook's body.
    pub(super) body: Template,
    /// Request that API Gateway passes to the webhook function.
    pub(super) request: Template,
    /// Typed event that the webhook function sends to the database.
    pub(super) event: Template,
    /// Event key.
    pub(super) key: Template,
}

/// Prefix of all calls' ids. Vapi's ids are version 7: those of later calls are greater, and so are these.
pub(super) const CALL_PREFIX: &str = "019d6b04-e541-7eaf-a178-";
/// Placeholders for the gaps while templates are cut.
pub(super) const CALL_MARK: &str = "999999999999";
pub(super) const NUMBER_MARK: &str = "8888888888888888";
pub(super) const NOW_MARK: &str = "66666666666666666666";
const CUSTOMER_MARK: &str = "7777777777";
/// Numbers of calls per client and per run.
const CALLS_OF_A_CLIENT: u64 = 1_000_000;
const CALLS_OF_A_RUN: u64 = 100 * CALLS_OF_A_CLIENT;
pub(super) const TRANSCRIPTS_OF_A_CALL: u64 = 10;
pub(super) const CUSTOMERS_OF_A_CLIENT: u64 = 1_000;
/// First call of a run, and the offset of its first call with a large report, which has no other events.
const FIRST_CALL: u64 = 100_000_000_000;
const FIRST_LARGE: u64 = CALLS_OF_A_CLIENT / 2;
pub(super) const FIRST_NUMBER: u64 = 1_000_000_000_000_000;
pub(super) const FIRST_CUSTOMER: u64 = 2_000_000_000;
const REPORT_BYTES: usize = 30_000;

impl Kind {
    /// Name of the kind.
    pub(super) fn name(self) -> &'static str {
        self.into()
    }

    /// Number of events of this kind per call.
    pub(super) fn of_a_call(self) -> u64 {
        if matches!(self, Self::Transcript | Self::Duplicate) { TRANSCRIPTS_OF_A_CALL } else { 1 }
    }

    /// First call of a run, before the offsets of the clients.
    pub(super) fn first_call(self, run: u64) -> u64 {
        FIRST_CALL + run * CALLS_OF_A_RUN + if self == Self::LargeReport { FIRST_LARGE } else { 0 }
    }

    /// Position of a client's event.
    pub(super) fn place(self, run: u64, client: u64, index: u64) -> Place {
        let call = index / self.of_a_call();
        Place {
            call: self.first_call(run) + client * CALLS_OF_A_CLIENT + call,
            number: FIRST_NUMBER + index,
            customer: FIRST_CUSTOMER + client * CUSTOMERS_OF_A_CLIENT + call % CUSTOMERS_OF_A_CLIENT,
        }
    }

    fn sample(self) -> &'static str {
        match self {
            Self::CallStarted => "status-update.in-progress.json",
            Self::CallEnded => "status-update.ended.json",
            Self::Transcript | Self::Duplicate => "transcript.user-final.json",
            Self::Report => "end-of-call-report.inbound-full.json",
            Self::LargeReport => "end-of-call-report.large.json",
        }
    }
}

impl Events {
    /// Cuts the sample of a kind.
    pub(super) fn of(site: &Site<'_>, kind: Kind) -> Result<Self> {
        let body = marked_body(site, kind)?;
        let parsed = parse(body.as_bytes(), Timestamp::now()).context("read a sample")?;
        let Message::Stored(StoredEvent { key, event, .. }) = parsed.message else {
            return Err(Error::new("a sample is not a stored event"));
        };
        let mut json = serde_json::to_value(&event).context("write a sample's event")?;
        let mut key = key.as_str().to_owned();
        if matches!(kind, Kind::Transcript | Kind::Duplicate) {
            // The hash differs for each text. pgbench cannot hash, so a counter replaces it.
            let hash = format!("{}{NUMBER_MARK}", "c".repeat(48));
            key = key.rsplit_once(':').map_or_else(|| hash.clone(), |(call, _)| format!("{call}:{hash}"));
            json["content_sha256"] = Value::String(hash);
        }
        Ok(Self {
            kind,
            body: Template::cut(&body),
            request: Template::cut(&request(site, &body)?),
            event: Template::cut(&json.to_string()),
            key: Template::cut(&key),
        })
    }

    /// Events of the same kind that differ in key and time alone, so that a call can have any number of them.
    pub(super) fn distinct(&self) -> Self {
        let mut event: Value = serde_json::from_str(&self.event.uncut()).unwrap_or_default();
        event["message_time"] = Value::String(NOW_MARK.to_owned());
        let key = format!("{}:{NUMBER_MARK}", self.key.uncut());
        Self { event: Template::cut(&event.to_string()), key: Template::cut(&key), ..self.clone() }
    }

    /// Request that API Gateway passes to the webhook function for an event.
    pub(super) fn request(&self, place: Place) -> Bytes {
        self.request.fill(place).into()
    }
}

impl Template {
    pub(super) fn cut(text: &str) -> Self {
        const GAPS: [(&str, Gap); 4] =
            [(CALL_MARK, Gap::Call), (NUMBER_MARK, Gap::Number), (CUSTOMER_MARK, Gap::Customer), (NOW_MARK, Gap::Now)];
        let mut parts = vec![Part::Text(text.to_owned())];
        for (mark, gap) in GAPS {
            parts = parts.into_iter().flat_map(|part| split(part, mark, gap)).collect();
        }
        Self(parts)
    }

    /// The text with its placeholders.
    fn uncut(&self) -> String {
        let mark = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Gap(Gap::Call) => CALL_MARK.to_owned(),
            Part::Gap(Gap::Number) => NUMBER_MARK.to_owned(),
            Part::Gap(Gap::Customer) => CUSTOMER_MARK.to_owned(),
            Part::Gap(Gap::Now) => NOW_MARK.to_owned(),
        };
        self.0.iter().map(mark).collect()
    }

    /// The text with its gaps filled.
    pub(super) fn fill(&self, place: Place) -> String {
        let fill = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Gap(Gap::Call) => place.call.to_string(),
            Part::Gap(Gap::Number) => place.number.to_string(),
            Part::Gap(Gap::Customer) => place.customer.to_string(),
            Part::Gap(Gap::Now) => Timestamp::now().to_string(),
        };
        self.0.iter().map(fill).collect()
    }
}

fn split(part: Part, mark: &str, gap: Gap) -> Vec<Part> {
    let Part::Text(text) = part else { return vec![part] };
    let mut parts = Vec::new();
    for piece in text.split(mark) {
        parts.extend([Part::Gap(gap), Part::Text(piece.to_owned())]);
    }
    // Each piece but the first follows a placeholder.
    parts.remove(0);
    parts
}

/// Compact body of the sample, with placeholders where events differ.
pub(super) fn marked_body(site: &Site<'_>, kind: Kind) -> Result<String> {
    let path = site.layout.root().join("tests/samples").join(kind.sample());
    let text = fs::read_to_string(&path).context(format_args!("read {}", path.display()))?;
    let mut body: Value = serde_json::from_str(&text).context("read a sample")?;
    let message = &mut body["message"];
    let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (call, customer) = (text_of(&message["call"]["id"]), text_of(&message["customer"]["number"]));
    if message["transcript"].is_string() && kind.of_a_call() > 1 {
        message["transcript"] = Value::String(format!("{} {NUMBER_MARK}", text_of(&message["transcript"])));
    }
    leave_recordings_out(message);
    if kind == Kind::Report {
        grow(message, REPORT_BYTES);
    }
    let marked = body.to_string().replace(&call, &format!("{CALL_PREFIX}{CALL_MARK}"));
    Ok(marked.replace(&customer, &format!("+1{CUSTOMER_MARK}")))
}

/// A recording causes a request to SQS, which the benchmark does not have, because it compares the statements.
fn leave_recordings_out(message: &mut Value) {
    let names = |name: &String| name.starts_with("presigned") || name.to_lowercase().contains("recording");
    for pointer in ["", "/artifact"] {
        if let Some(fields) = message.pointer_mut(pointer).and_then(Value::as_object_mut) {
            fields.retain(|name, _| !names(name));
        }
    }
}

/// Repeats the conversation until the message has a size.
fn grow(message: &mut Value, bytes: usize) {
    let missing = bytes.saturating_sub(message.to_string().len());
    let Some(messages) = message["artifact"]["messages"].as_array_mut() else { return };
    let Some(last) = messages.last().cloned() else { return };
    let count = missing / last.to_string().len();
    messages.extend(std::iter::repeat_n(last, count));
}

pub(super) fn request(site: &Site<'_>, body: &str) -> Result<String> {
    let (org, path) = (site.org.to_string(), format!("/vapi/{}", site.org));
    let headers = [
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("host", "ringfence.example"),
        ("user-agent", "axios/1.7.9"),
        ("x-forwarded-proto", "https"),
        ("x-vapi-secret", site.key.as_str()),
    ];
    let request = Request {
        route: "POST /vapi/{org_id}",
        path_parameters: BTreeMap::from([("org_id", org.as_str())]),
        path_and_query: &path,
        headers: headers.map(|(name, value)| (name, value.to_owned())).into(),
        body: body.as_bytes(),
    };
    let event = request.event()?;
    String::from_utf8(event.into()).context("write a webhook")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_round_trips_with_its_variables_filled() {
        let template = Template::cut(&format!("a{CALL_MARK}b{NUMBER_MARK}{CUSTOMER_MARK}c{CALL_MARK}"));
        assert_eq!(template.fill(Place { call: 1, number: 2, customer: 3 }), "a1b23c1");
    }

    #[test]
    fn clients_and_runs_have_calls_of_their_own_and_a_call_ten_transcripts() {
        let place = |client, index| Kind::Transcript.place(3, client, index);
        assert_eq!(place(0, 0).call, place(0, 9).call);
        assert_eq!(place(0, 9).call + 1, place(0, 10).call);
        assert_ne!(place(0, 0).number, place(0, 1).number);
        assert!(place(99, 9_999_999).call < Kind::CallStarted.place(4, 0, 0).call);
        assert_eq!(place(0, 0).call.to_string().len(), CALL_MARK.len());
    }
}
