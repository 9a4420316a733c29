use ringfence_vapi::Sensitive;
use serde::{Deserialize, Serialize};

/// The subject of an erasure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// A call, by Vapi's id. The call may be unknown.
    Call(String),
    /// A chat or session, by Vapi's id. It may be unknown.
    Chat(String),
    /// The lead with a phone number or SIP URI, in any spelling, and all calls with it that began before now.
    Number(Sensitive<String>),
}

/// The amounts of stored data of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasable {
    /// Calls with any of the following, or with rows.
    pub calls: u64,
    /// Retained events.
    pub events: u64,
    pub transcripts: u64,
    /// Also those that are not stored yet. Maintenance removes their objects within the hour.
    pub recordings: u64,
    pub failures: u64,
    /// Tool calls. Their rows stay; their results are erased.
    pub tool_calls: u64,
    /// Unresolved platform events.
    pub unresolved: u64,
    /// Messages of unknown types.
    #[serde(default)]
    pub quarantined: u64,
}

impl std::ops::AddAssign for Erasable {
    fn add_assign(&mut self, other: Self) {
        let Self { calls, events, transcripts, recordings, failures, tool_calls, unresolved, quarantined } = other;
        self.calls += calls;
        self.events += events;
        self.transcripts += transcripts;
        self.recordings += recordings;
        self.failures += failures;
        self.tool_calls += tool_calls;
        self.unresolved += unresolved;
        self.quarantined += quarantined;
    }
}

/// The erased data, or in a dry run the data that would be erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    pub known: Erasable,
    pub leads: u64,
    /// Dead letters. A dry run counts none, because only the tombstone identifies them.
    pub dead_letters: u64,
    /// Objects of parked events. A dry run counts none, for the same reason.
    #[serde(default)]
    pub parked: u64,
    /// Dead letters or parked events may remain because the time limit was reached. Run the erasure again.
    pub more: bool,
}
