//! What happens in a simulated call, decided before anything is sent. What is posted ([`bodies`](super::bodies)) and what must
//! be in the tables afterwards ([`expected`](super::expected)) both follow from here, neither from the other and nothing from
//! the code that is tried.
//!
//! All values are invented; the numbers are of the range that is kept free for fiction.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::cast::{LEADS, STRANGERS};

/// One simulation: what its calls have in common.
#[derive(Clone, Debug)]
pub struct Run {
    /// Stands in the metadata of each call.
    id: Uuid,
    /// When its first call began. Calls lie in the past, as their messages do when they arrive.
    began_at: Timestamp,
    /// Whether all calls are test calls, which move no lead.
    tests_only: bool,
    /// Where calls are recorded ([`storage`](super::recording::storage)); None: none is.
    studio: Option<String>,
}

/// A call from beginning to end.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: String,
    pub outbound: bool,
    /// The other party's number.
    pub customer: &'static str,
    pub is_test: bool,
    pub metadata: Value,
    pub began_at: Timestamp,
    /// None: nobody answered.
    pub conversation: Option<Conversation>,
    pub ended_at: Timestamp,
    /// Vapi's reason, and the family that it must be sorted into.
    pub reason: &'static str,
    pub family: &'static str,
}

/// What is said once a call is answered.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub started_at: Timestamp,
    pub turns: Vec<Turn>,
    /// None: it was not recorded.
    pub recording: Option<Recording>,
}

/// The recording of a call, both parties in one channel.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Vapi's name of it, which is not a link that works.
    pub url: String,
    /// Where it is, without the signature.
    pub link: String,
}

/// One thing said.
#[derive(Clone, Debug)]
pub struct Turn {
    pub speaker: &'static str,
    pub text: &'static str,
    pub said_at: Timestamp,
}

/// One event of a call: what Vapi posts, once or several times.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    Status(&'static str, Timestamp),
    Said(&'a Turn),
    Reported(Timestamp),
}

/// Somebody says the same words twice, and a redelivery must not be taken for that, nor that for a redelivery.
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

    /// The same, with recordings of most calls that were answered, to be fetched from the studio at a URL.
    #[must_use]
    pub fn recorded_by(self, url: &str) -> Self {
        Self { studio: Some(url.to_owned()), ..self }
    }

    /// The calls of the run.
    #[must_use]
    pub fn calls(&self, count: usize) -> Vec<Call> {
        (0..count).map(|index| self.call(index)).collect()
    }

    /// The call at `index`. Its traits repeat with periods that share no divisor, so that every mixture of them comes up; the
    /// first call has them all.
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

    /// The whole conversation, a line per turn, as Vapi's report has it.
    #[must_use]
    pub fn transcript(&self) -> String {
        let line = |turn: &Turn| format!("{}: {}\n", if turn.speaker == "user" { "User" } else { "AI" }, turn.text);
        self.turns.iter().map(line).collect()
    }

    #[must_use]
    pub fn summary(&self) -> String {
        format!("The water heater leaks. A visit was discussed in {} turns.", self.turns.len())
    }

    /// US dollars.
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
    /// The call's events, in the order in which they happen.
    pub fn steps(&self) -> Vec<Step<'_>> {
        let mut steps = vec![
            Step::Status("queued", self.began_at),
            Step::Status("ringing", self.began_at + SignedDuration::from_millis(1_120)),
        ];
        if let Some(conversation) = &self.conversation {
            // Later than the report's start, which must win.
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

    /// From the answer to the end; nothing, when nobody answered.
    #[must_use]
    pub fn duration(&self) -> SignedDuration {
        let started_at = self.conversation.as_ref().map(|conversation| conversation.started_at);
        started_at.map_or(SignedDuration::ZERO, |started_at| self.ended_at.duration_since(started_at))
    }
}

/// `count` steps of `ms` milliseconds after a time.
fn after(time: Timestamp, count: usize, ms: i64) -> Timestamp {
    time + SignedDuration::from_millis(i64::try_from(count).unwrap_or_default() * ms)
}
