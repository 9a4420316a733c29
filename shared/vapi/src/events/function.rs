//! The functions that apply events.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The Lambda function that applies an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Function {
    /// Calls that begin or go on, and most of the timeline.
    CallStarted,
    /// Calls that end or are deleted.
    CallEnded,
    /// Final transcripts.
    Transcript,
    /// Reports and what becomes of their artifacts.
    EndOfCallReport,
}

impl Function {
    /// All functions that apply events.
    pub const ALL: [Self; 4] = [Self::CallStarted, Self::CallEnded, Self::Transcript, Self::EndOfCallReport];

    /// The function's name, as in the tree and in its queue's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CallStarted => "call-started",
            Self::CallEnded => "call-ended",
            Self::Transcript => "transcript",
            Self::EndOfCallReport => "end-of-call-report",
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_serialised_under_its_name() {
        for function in Function::ALL {
            assert_eq!(serde_json::to_value(function).unwrap(), function.as_str());
        }
    }
}
