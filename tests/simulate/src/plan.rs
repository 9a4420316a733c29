//! Content of a simulated call, decided before any webhook is sent. The posted bodies ([`bodies`](super::bodies)) and
//! the expected rows ([`expected`](super::expected)) are both computed from it, independently of each other and of the
//! code under test.
//!
//! All values are invented. The phone numbers are from the range that is reserved for fiction.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::cast::{LEADS, STRANGERS};

/// A simulation: the common values of its calls.
#[derive(Clone, Debug)]
pub struct Run {
    /// Value in the metadata of each call.
    id: Uuid,
    /// Begin of its first call. Calls lie in the past, as their messages do when they arrive.
    began_at: Timestamp,
    /// Whether all calls are test calls, which do not update leads.
    tests_only: bool,
    /// URL of the recordings ([`storage`](super::recording::storage)). `None` if no call is recorded.
    studio: Option<String>,
}

/// A call from beginning to end.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: String,
    pub outbound: bool,
    /// Number of the other party.
    pub customer: &'static str,
    pub is_test: bool,
    pub metadata: Value,
    pub began_at: Timestamp,
    /// `None` if the call was not answered.
    pub conversation: Option<Conversation>,
    pub ended_at: Timestamp,
    /// Vapi's reason for the end, and its expected family.
    pub reason: &'static str,
    pub family: &'static str,
}

/// Conversation of an answered call.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub started_at: Timestamp,
    pub turns: Vec<Turn>,
    /// `None` if it was not recorded.
    pub recording: Option<Recording>,
}

/// Recording of a call, with both parties in one channel.
#[derive(Clone, Debug)]
pub struct Recording {
    /// URL of the recording at Vapi, which cannot be fetched.
    pub url: String,
    /// Link to the recording, without its signature.
    pub link: String,
}

/// A turn of the conversation.
#[derive(Clone, Debug)]
pub struct Turn {
    pub speaker: &'static str,
    pub text: &'static str,
    pub said_at: Timestamp,
}

/// An event of a call, which Vapi posts once or several times.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    Status(&'static str, Timestamp),
    Said(&'a Turn),
    Reported(Timestamp),
}

/// A party says the same words twice. Such a turn and a redelivery must be distinguished.
const SCRIPT: [(&str, &str); 8] = [
    ("assistant", "Acme Plumbing, how can I help?"),
    ("user", "Hi, my water heater is leaking. Can someone come tomorrow?"),
    ("assistant", "I am sorry to hear that. Is the water turned off?"),
    ("user", "Yes."),
    ("assistant", "Good. Would tomorrow at ten suit you?"),
    ("user", "Yes."),
    ("assistant", "You are booked: \"tomorrow, 10:00\". Is there anything else? 😊"),
    ("user", "No, thank you. Goodbye!"),
];
const ANSWERED_ENDS: [(&str, &str); 3] = [
    ("customer-ended-call", "customer-ended"),
    ("assistant-ended-call", "assistant-ended"),
    ("silence-timed-out", "limit"),
];
const UNANSWERED_OUTBOUND_ENDS: [(&str, &str); 3] =
    [("customer-did-not-answer", "not-reached"), ("customer-busy", "not-reached"), ("voicemail", "voicemail")];
const UNANSWERED_INBOUND_END: (&str, &str) =
    ("call.ringing.sip-inbound-caller-hungup-before-call-connect", "not-reached");

impl Run {
    #[must_use]
    pub fn new(now: Timestamp, tests_only: bool) -> Self {
        // Vapi's times are whole milliseconds.
        let now = now - SignedDuration::from_nanos(i64::from(now.subsec_nanosecond() % 1_000_000));
        Self { id: Uuid::new_v4(), began_at: now - SignedDuration::from_mins(10), tests_only, studio: None }
    }

    /// Adds recordings to most answered calls. Their links point to the given URL.
    #[must_use]
    pub fn recorded_by(self, url: &str) -> Self {
        Self { studio: Some(url.to_owned()), ..self }
    }

    /// Calls of the run.
    #[must_use]
    pub fn calls(&self, count: usize) -> Vec<Call> {
        (0..count).map(|index| self.call(index)).collect()
    }

    /// Call at `index`. The periods of its traits are coprime, so that every combination occurs. The first call has all
    /// traits.
    fn call(&self, index: usize) -> Call {
        let id = Uuid::new_v4().to_string();
        let outbound = index % 2 == 1;
        let has_lead = index % 3 != 2;
        let is_answered = index % 5 != 4;
        let is_test = self.tests_only || index % 7 == 6;
        let people = if has_lead { LEADS } else { STRANGERS };
        let began_at = after(self.began_at, index, 137);
        let conversation = is_answered.then(|| Conversation::new(&id, index, began_at, self.studio.as_deref()));
        let (reason, family) = match (is_answered, outbound) {
            (true, _) => ANSWERED_ENDS[index % ANSWERED_ENDS.len()],
            (false, true) => UNANSWERED_OUTBOUND_ENDS[index % UNANSWERED_OUTBOUND_ENDS.len()],
            (false, false) => UNANSWERED_INBOUND_END,
        };
        let mut metadata = json!({"simulation": self.id, "call": index});
        if is_test {
            metadata["is_test_call"] = json!(true);
        }
        Call {
            outbound,
            customer: people[index % people.len()],
            is_test,
            metadata,
            began_at,
            ended_at: conversation.as_ref().map_or(began_at + SignedDuration::from_secs(30), Conversation::end),
            conversation,
            reason,
            family,
            id,
        }
    }
}

impl Conversation {
    fn new(call_id: &str, index: usize, began_at: Timestamp, studio: Option<&str>) -> Self {
        let started_at = began_at + SignedDuration::from_millis(4_210);
        let said = SCRIPT.iter().take(4 + 2 * (index % 3)).enumerate();
        let turns =
            said.map(|(turn, (speaker, text))| Turn { speaker, text, said_at: after(started_at, turn + 1, 2_350) });
        let is_recorded = index % 11 != 10;
        Self {
            started_at,
            turns: turns.collect(),
            recording: studio.filter(|_| is_recorded).map(|studio| Recording {
                url: format!("https://recordings.example/{call_id}-mono.wav"),
                link: format!("{studio}/{call_id}-mono.wav"),
            }),
        }
    }

    fn end(&self) -> Timestamp {
        after(self.started_at, self.turns.len(), 2_350) + SignedDuration::from_millis(1_500)
    }

    /// Whole conversation with a line per turn, as in Vapi's report.
    #[must_use]
    pub fn transcript(&self) -> String {
        let line = |turn: &Turn| format!("{}: {}\n", if turn.speaker == "user" { "User" } else { "AI" }, turn.text);
        self.turns.iter().map(line).collect()
    }

    #[must_use]
    pub fn summary(&self) -> String {
        format!("The water heater leaks. A visit was discussed in {} turns.", self.turns.len())
    }

    /// Cost in US dollars.
    #[must_use]
    pub fn cost(&self) -> f64 {
        let turns = u32::try_from(self.turns.len()).unwrap_or(u32::MAX);
        f64::from(31 + turns) / 1000.0
    }

    #[must_use]
    pub fn cost_breakdown(&self) -> Value {
        json!({
            "llm": 0.011, "stt": 0.02, "total": self.cost(), "llmPromptTokens": 1_830,
            "analysisCostBreakdown": {"summary": 0.001, "summaryPromptTokens": 412},
        })
    }

    #[must_use]
    pub fn structured_data(&self) -> Value {
        json!({"intent": "booking", "turns": self.turns.len(), "appointment": {"time": "10:00"}})
    }

    #[must_use]
    pub fn structured_outputs(&self) -> Value {
        json!({"8d4f21f8-7a35-4a51-9d0c-6f3f54b5c0aa": {"name": "urgency", "result": self.turns.len()}})
    }
}

impl Call {
    /// Events of the call in chronological order.
    pub fn steps(&self) -> Vec<Step<'_>> {
        let mut steps = vec![
            Step::Status("queued", self.began_at),
            Step::Status("ringing", self.began_at + SignedDuration::from_millis(1_120)),
        ];
        if let Some(conversation) = &self.conversation {
            // Later than the start in the report, which must take precedence.
            let noticed_at = conversation.started_at + SignedDuration::from_millis(40);
            steps.push(Step::Status("in-progress", noticed_at));
            steps.extend(conversation.turns.iter().map(Step::Said));
        }
        steps.push(Step::Status("ended", self.ended_at));
        steps.push(Step::Reported(self.ended_at + SignedDuration::from_millis(2_600)));
        steps
    }

    /// Vapi's `call.type`.
    #[must_use]
    pub fn call_type(&self) -> &'static str {
        if self.outbound { "outboundPhoneCall" } else { "inboundPhoneCall" }
    }

    /// Time from the answer to the end. Zero if the call was not answered.
    #[must_use]
    pub fn duration(&self) -> SignedDuration {
        let started_at = self.conversation.as_ref().map(|conversation| conversation.started_at);
        started_at.map_or(SignedDuration::ZERO, |started_at| self.ended_at.duration_since(started_at))
    }
}

/// Time after `count` steps of `ms` milliseconds.
fn after(time: Timestamp, count: usize, ms: i64) -> Timestamp {
    time + SignedDuration::from_millis(i64::try_from(count).unwrap_or_default() * ms)
}
