//! Errors of commands, with messages for the person who sent the command.

use ringfence_aws::QueueError;
use ringfence_core::ConfigurationError;
use ringfence_core::error::Failure;
use ringfence_core::migrations::MigrationError;
use ringfence_egress::VapiApiError;
use ringfence_identity::{InvalidToken, MintError};
use ringfence_runtime::{Coded as _, Misconfigured, ParkingError};
use ringfence_vapi::interactive::InvalidConfiguration;

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The database refused the statement, or is unavailable.
    #[error(transparent)]
    Failed(Failure),
    /// The migrations were rolled back.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// The database's settings cannot work.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// A setting is missing.
    #[error(transparent)]
    Misconfigured(#[from] Misconfigured),
    /// SQS did not do as asked.
    #[error("{code}: {0}", code = .0.code())]
    Queue(#[from] QueueError),
    /// Parked events could not be listed, read or deleted.
    #[error("{code}: {0}", code = .0.code())]
    Parking(#[from] ParkingError),
    /// A token could not be signed.
    #[error(transparent)]
    Token(#[from] MintError),
    /// A token is not valid.
    #[error(transparent)]
    InvalidToken(#[from] InvalidToken),
    /// A token of one org for another one.
    #[error("the token is not for this org")]
    OtherOrg,
    /// Vapi did not do as asked.
    #[error("{code}: {0}", code = .0.code())]
    Vapi(#[from] VapiApiError),
    /// The org has no API key at Vapi.
    #[error("the org has no API key at Vapi: `cargo ringfence org vapi-key` keeps one")]
    NoVapiKey,
    /// Vapi cannot reach this machine.
    #[error("the stack's URL leads to this machine, where Vapi cannot reach it")]
    LocalUrl,
    /// The credential was not found on as many pages as are read.
    #[error("the org has more credentials at Vapi than are searched: delete those that are not used")]
    TooManyCredentials,
    /// There is no such org.
    #[error("there is no such org")]
    NoSuchOrg,
    /// The org has no such agent, lead, tool or open failure of a tool call.
    #[error("the org has no such {0}")]
    NoSuch(&'static str),
    /// Vapi would not understand what an agent is to answer.
    #[error(transparent)]
    Agent(#[from] InvalidConfiguration),
    /// An agent that makes calls cannot answer them.
    #[error("only an inbound agent can be the default")]
    DefaultMakesCalls,
    /// An endpoint that is not reached over TLS.
    #[error("an endpoint is an https URL of at most 2000 characters, without a user name in it")]
    NotHttps,
    /// A type of messages that no endpoint answers.
    #[error(
        "an endpoint can answer transfer-destination-request, handoff-destination-request, knowledge-base-request, call.endpointing.request and campaign.predial"
    )]
    NotAnswerable,
    /// Out of range.
    #[error("a tool has a name of 1 to 128 characters and 1 to 15 seconds")]
    ToolOutOfRange,
    /// One of an agent's ids leads to another org already.
    #[error("another org registered one of these ids or this number")]
    RegisteredByAnotherOrg,
    /// The org has a lead with this number.
    #[error("the org has a lead with this number already")]
    LeadExists,
    /// A text that is no key, or a key that cannot be sealed.
    #[error("a key is a text of 8 to 200 characters without spaces")]
    NotAKey,
    /// Out of range.
    #[error("recordings and transcripts are kept for 1 to 36500 days, or for ever; events for 15 to 36500 days")]
    RetentionOutOfRange,
    /// Not a phone number as it is kept.
    #[error("a phone number is written in E.164, such as +15555550142")]
    NotE164,
}

/// The one place where the name of a violated constraint becomes what it means to a person.
impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        match failure.constraint.as_deref() {
            Some("agents_org_fkey" | "leads_org_fkey" | "tools_org_fkey") => Self::NoSuchOrg,
            Some("platform_directory_pkey") => Self::RegisteredByAnotherOrg,
            Some("leads_org_phone_key") => Self::LeadExists,
            Some("agents_default_answers") => Self::DefaultMakesCalls,
            Some("tools_endpoint_https") => Self::NotHttps,
            Some("tools_message_known") => Self::NotAnswerable,
            Some("tools_name_length" | "tools_timeout_bounded") => Self::ToolOutOfRange,
            Some(
                "organizations_recording_retention_bounded"
                | "organizations_transcript_retention_bounded"
                | "organizations_event_retention_bounded",
            ) => Self::RetentionOutOfRange,
            Some("agents_phone_number_e164" | "leads_phone_e164") => Self::NotE164,
            _ => Self::Failed(failure),
        }
    }
}
