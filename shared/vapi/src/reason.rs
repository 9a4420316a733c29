//! Classifies the reason why a call ended.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, IntoStaticStr, VariantNames};

use crate::object::Object;

use self::Pattern::{Begins, Contains};
use self::ReasonFamily::{
    Administrative, AssistantEnded, AssistantRequest, CustomerEnded, Error, ErrorPipeline, ErrorProvider, ErrorVapi,
    Limit, NotReached, Other, Transfer, Voicemail,
};

/// The family of an `endedReason`.
///
/// Vapi has about 600 reasons and adds more. The family therefore depends on the start or a part of the text, not on a
/// closed list.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumIter, IntoStaticStr, VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum ReasonFamily {
    /// The other party hung up, or its line ended the call.
    CustomerEnded,
    /// The assistant ended the call.
    AssistantEnded,
    /// The call was not answered, or the line was busy, wrong or refused.
    NotReached,
    /// An answering machine.
    Voicemail,
    /// Silence, or the maximum duration was reached.
    Limit,
    /// The call was transferred or forwarded, or should have been.
    Transfer,
    /// The server (Ringfence) returned no usable assistant.
    AssistantRequest,
    /// Cancelled, deleted or shut down.
    Administrative,
    /// A fault of Vapi (`vapifault`).
    ErrorVapi,
    /// A fault of one of the providers that Vapi calls (`providerfault`).
    ErrorProvider,
    /// A failure of the speech pipeline (`pipeline-error-*`).
    ErrorPipeline,
    /// Any other failure.
    Error,
    /// No other family matches.
    Other,
}

/// The position of a word in the text of a reason.
enum Pattern {
    Begins(&'static str),
    Contains(&'static str),
}

impl Pattern {
    fn matches(&self, reason: &str) -> bool {
        match self {
            Self::Begins(prefix) => reason.starts_with(prefix),
            Self::Contains(word) => reason.contains(word),
        }
    }
}

/// The first matching pattern decides, so specific patterns come first: the party whose server failed before the
/// failure, failures before the activity during which they occurred, transfers before the party that hung up during
/// one.
const PATTERNS: [(Pattern, ReasonFamily); 33] = [
    (Begins("assistant-request-"), AssistantRequest),
    (Begins("assistant-not-"), AssistantRequest),
    (Contains("neither-assistant-nor-server"), AssistantRequest),
    (Contains("providerfault"), ErrorProvider),
    (Contains("vapifault"), ErrorVapi),
    (Contains("pipeline"), ErrorPipeline),
    (Contains("error"), Error),
    (Begins("voicemail"), Voicemail),
    (Begins("silence-timed-out"), Limit),
    (Begins("exceeded-max-duration"), Limit),
    (Contains("transfer"), Transfer),
    (Contains("forward"), Transfer),
    (Contains("hook-executed"), AssistantEnded),
    (Begins("call.ringing."), NotReached),
    (Contains("busy"), NotReached),
    (Contains("did-not-answer"), NotReached),
    (Contains("no-answer"), NotReached),
    (Contains("did-not-give-microphone"), NotReached),
    (Contains("failed-to-connect"), NotReached),
    (Contains("misdialed"), NotReached),
    (Contains("rejected"), NotReached),
    (Begins("customer-ended-call"), CustomerEnded),
    // A carrier reports the call as completed: the other end hung up.
    (Contains("-completed"), CustomerEnded),
    (Begins("assistant-ended-call"), AssistantEnded),
    (Begins("assistant-said-"), AssistantEnded),
    (Begins("manually-"), Administrative),
    (Contains("cancel"), Administrative),
    (Contains("deleted"), Administrative),
    (Contains("shutdown"), Administrative),
    (Contains("timed-out"), Administrative),
    (Contains("disconnected"), Administrative),
    (Contains("closed-websocket"), Administrative),
    (Begins("phone-call-provider-"), Administrative),
];

/// The longest reason that is kept, in characters.
const MAX_REASON: usize = 1_000;

/// An `endedReason` and its family. A reason is a word of an open enum; what some senders append to it is kept up to a
/// length, and the family depends on the part that is kept.
pub(crate) fn read(object: &Object<'_>, path: &'static str) -> Option<(String, ReasonFamily)> {
    let reason = object.cut_text(path, MAX_REASON)?;
    let family = ReasonFamily::from_reason(&reason);
    Some((reason, family))
}

impl ReasonFamily {
    /// The family of a reason.
    #[must_use]
    pub fn from_reason(reason: &str) -> Self {
        let matching = PATTERNS.iter().find(|(pattern, _)| pattern.matches(reason));
        matching.map_or(Other, |(_, family)| *family)
    }

    /// The family's name in rows and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator as _;

    use super::*;

    /// Every fixed value of Vapi's `endedReason`, and some values of each generated kind.
    const REASONS: [(ReasonFamily, &[&str]); 13] = [
        (
            CustomerEnded,
            &[
                "customer-ended-call",
                "vonage-completed",
                "call.in-progress.twilio-completed-call",
                "call.in-progress.sip-completed-call",
            ],
        ),
        (
            AssistantEnded,
            &[
                "assistant-ended-call",
                "assistant-ended-call-with-hangup-task",
                "assistant-ended-call-after-message-spoken",
                "assistant-said-end-call-phrase",
                "call.ringing.hook-executed-say",
                "call.ending.hook-executed-say",
            ],
        ),
        (
            NotReached,
            &[
                "customer-busy",
                "customer-did-not-answer",
                "twilio-failed-to-connect-call",
                "twilio-reported-customer-misdialed",
                "vonage-rejected",
                "vonage-failed-to-connect-call",
                "customer-did-not-give-microphone-permission",
                "call.ringing.sip-inbound-caller-hungup-before-call-connect",
            ],
        ),
        (Voicemail, &["voicemail"]),
        (Limit, &["silence-timed-out", "exceeded-max-duration"]),
        (
            Transfer,
            &[
                "assistant-forwarded-call",
                "customer-ended-call-during-transfer",
                "customer-ended-call-before-warm-transfer",
                "customer-ended-call-after-warm-transfer-attempt",
                "call.forwarding.operator-busy",
                "call.forwarding.no-answer",
                "call.ringing.hook-executed-transfer",
                "call.ending.hook-executed-transfer",
            ],
        ),
        (
            AssistantRequest,
            &[
                "assistant-request-failed",
                "assistant-request-returned-error",
                "assistant-request-returned-unspeakable-error",
                "assistant-request-returned-invalid-assistant",
                "assistant-request-returned-no-assistant",
                "assistant-request-returned-forwarding-phone-number",
                "call-start-error-neither-assistant-nor-server-set",
                "assistant-not-found",
                "assistant-not-valid",
            ],
        ),
        (
            Administrative,
            &[
                "manually-canceled",
                "scheduled-call-deleted",
                "call-deleted",
                "worker-shutdown",
                "assistant-join-timed-out",
                "phone-call-provider-closed-websocket",
                "vonage-disconnected",
                "phone-call-provider-bypass-enabled-but-no-call-received",
            ],
        ),
        (ErrorVapi, &["call.in-progress.error-vapifault-worker-died", "call.start.error-vapifault-get-org"]),
        (ErrorProvider, &["call.in-progress.error-providerfault-openai-llm-failed"]),
        (ErrorPipeline, &["pipeline-error-eleven-labs-voice-not-found", "call.in-progress.error-pipeline-no-model"]),
        (Error, &["call.in-progress.error-sip-outbound-call-failed-to-connect", "call.start.error-get-transport"]),
        (Other, &["", "hangup", "something-vapi-adds-next-year"]),
    ];

    #[test]
    fn every_reason_of_the_contract_has_its_family() {
        for (family, reasons) in REASONS {
            for reason in reasons {
                assert_eq!(ReasonFamily::from_reason(reason), family, "{reason}");
            }
        }
    }

    #[test]
    fn a_family_is_serialised_under_its_name() {
        for family in ReasonFamily::iter() {
            assert_eq!(serde_json::to_value(family).unwrap(), family.as_str());
        }
    }
}
