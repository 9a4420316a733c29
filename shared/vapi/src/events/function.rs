//! The functions that apply events.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumCount, EnumIter, IntoStaticStr};

/// The Lambda function that applies an event.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumCount, EnumIter, IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum Function {
    /// Calls that begin or continue, and most timeline events.
    CallStarted,
    /// Calls that end or are deleted.
    CallEnded,
    /// Final transcripts.
    Transcript,
    /// End-of-call reports and uploads of artifacts.
    EndOfCallReport,
}

impl Function {
    /// The function's name in the source tree and in the name of its queue.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator as _;

    use super::*;

    #[test]
    fn a_function_is_serialised_under_its_name() {
        for function in Function::iter() {
            assert_eq!(serde_json::to_value(function).unwrap(), function.as_str());
        }
    }
}
