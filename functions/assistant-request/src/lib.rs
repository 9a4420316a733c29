//! Answers Vapi's `assistant-request` messages and other questions from the org's configuration while the caller waits.
//! Vapi ends a call if its `assistant-request` gets no answer, so the function also answers while the database is
//! unavailable.

mod answer_cache;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_core::Database;
use ringfence_core::error::Failure;
use ringfence_core::interactive::{Admission, Found, Sender, find_answer};
use ringfence_egress::{Endpoints, Notice};
use ringfence_identity::{Unauthorised, Verified};
use ringfence_runtime::metrics::{Counts, Metric};
use ringfence_runtime::route::{Respond, wrong_route};
use ringfence_runtime::{Answer, Coded as _, Environment, Misconfigured, catch_panics};
use ringfence_vapi::interactive::{Inquiry, Interactive, Question, assistant, sentence, transfer_to};
use ringfence_vapi::{FailureCode, VapiCallId, nothing_configured};
use serde_json::{Value, json};

use self::answer_cache::AnswerCache;

/// Bounds the connection and the statement together. Vapi gives up 7.5 seconds after the call arrived, and the network
/// takes part of that time. (A single statement has a shorter timeout, after which its connection is closed.)
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bounds a question that an endpoint answers, whatever the endpoint's own timeout. Vapi's limit is 20 seconds.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(17);

/// The answer to an `assistant-request` for which no other answer is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fallback {
    /// The number (E.164) or SIP URI to which the caller is forwarded.
    pub destination: Option<String>,
    /// The sentence that Vapi speaks if there is no destination.
    pub sentence: Option<String>,
}

impl Fallback {
    /// `FALLBACK_DESTINATION` and `FALLBACK_SENTENCE`.
    pub fn from_environment(environment: &Environment<'_>) -> Result<Self, Misconfigured> {
        let name = "FALLBACK_DESTINATION";
        let destination = environment.optional(name);
        if destination
            .as_ref()
            .is_some_and(|to| !to.starts_with('+') && !to.starts_with("sip:") && !to.starts_with("sips:"))
        {
            return Err(Misconfigured::new(name, "is neither a number in E.164 nor a SIP URI"));
        }
        Ok(Self { destination, sentence: environment.optional("FALLBACK_SENTENCE") })
    }

    fn answer(&self) -> Value {
        self.destination.as_deref().map_or_else(|| sentence(self.sentence.as_deref()), transfer_to)
    }
}

pub struct Answers {
    database: Arc<Database>,
    endpoints: Arc<Endpoints>,
    fallback: Fallback,
    cache: AnswerCache,
}

impl Answers {
    /// Answers come from `database` or from an org's endpoint, and from `fallback` if neither has one.
    #[must_use]
    pub fn new(database: Arc<Database>, endpoints: Arc<Endpoints>, fallback: Fallback) -> Self {
        Self { database, endpoints, fallback, cache: AnswerCache::default() }
    }
}

impl Respond for Answers {
    /// Returns an answer in the shape that Vapi expects, or an error if the key is revoked.
    async fn answer(&self, verified: &Verified<'_>, message: &Interactive, counts: &mut Counts) -> Answer {
        match &message.question {
            Question::Assistant => self.assistant(verified, message, counts).await,
            Question::Inquiry(inquiry) => self.inquiry(verified, message, inquiry, counts).await,
            Question::ToolCalls(_) | Question::FunctionCall(_) => wrong_route(message),
        }
    }
}

impl Answers {
    async fn assistant(&self, verified: &Verified<'_>, message: &Interactive, counts: &mut Counts) -> Answer {
        let found = match self.find(verified, message, "assistant-request").await {
            Ok(Admission::Known(found)) => found,
            Ok(Admission::Revoked) => return Err(Unauthorised.into()),
            Ok(Admission::Unresolved) => return Ok(self.no_agent(verified, message, counts)),
            Err(failure) => {
                counts.add(Metric::FellBack, 1);
                counts.field("failure.code", failure.code.to_string());
                tracing::error!(failure.code = %failure.code, "an assistant request was answered without the database");
                let cached = self.cache.get(verified.credential(), &message.call);
                return Ok(cached.unwrap_or_else(|| self.fallback.answer()));
            }
        };
        let answered = found.agent.as_ref().and_then(|agent| Some((agent, assistant(agent, found.lead.as_ref())?)));
        let Some((agent, answer)) = answered else { return Ok(self.no_agent(verified, message, counts)) };
        // Without the lead, because the next caller may be another person.
        if let Some(answer) = assistant(agent, None) {
            self.cache.insert(verified.credential(), &message.call, answer);
        }
        counts.add(Metric::Answered, 1);
        tracing::info!(
            org.id = %found.org_id, agent.id = %agent.id, lead.is_known = found.lead.is_some(),
            call.id = message.call.id.as_ref().map(VapiCallId::as_str), "an assistant request was answered"
        );
        Ok(answer)
    }

    /// No agent answers calls to this number, so its cached answer is removed as well.
    fn no_agent(&self, verified: &Verified<'_>, message: &Interactive, counts: &mut Counts) -> Value {
        self.cache.remove(verified.credential(), &message.call);
        unanswered(message, counts)
    }

    async fn inquiry(
        &self,
        verified: &Verified<'_>,
        message: &Interactive,
        inquiry: &Inquiry,
        counts: &mut Counts,
    ) -> Answer {
        let (message_type, until) = (inquiry.kind.as_str(), Instant::now() + QUESTION_TIMEOUT);
        let found = match self.find(verified, message, message_type).await {
            Ok(Admission::Known(found)) => found,
            Ok(Admission::Revoked) => return Err(Unauthorised.into()),
            Ok(Admission::Unresolved) => return Ok(unanswered(message, counts)),
            Err(failure) => {
                counts.field("failure.code", failure.code.to_string());
                tracing::error!(
                    failure.code = %failure.code, message.r#type = message_type, "a question was not answered"
                );
                return Ok(unanswered(message, counts));
            }
        };
        let answer = match self.ask(verified, message, inquiry, (&found, until), counts).await {
            Some(answer) => Some(answer),
            None => found.agent.as_ref().and_then(|agent| inquiry.kind.configured_answer(agent)),
        };
        let Some(answer) = answer else { return Ok(unanswered(message, counts)) };
        counts.add(Metric::Answered, 1);
        tracing::info!(org.id = %found.org_id, message.r#type = message_type, "a question was answered");
        Ok(answer)
    }

    /// Asks the endpoint that the org registered for messages of this type, if there is one. None: no endpoint, or it
    /// failed; the agent's configuration then decides.
    async fn ask(
        &self,
        verified: &Verified<'_>,
        message: &Interactive,
        inquiry: &Inquiry,
        (found, until): (&Found, Instant),
        counts: &mut Counts,
    ) -> Option<Value> {
        let endpoint = found.endpoint.as_ref()?;
        let mut data = inquiry.details.expose().clone();
        data.insert("org_id".to_owned(), json!(found.org_id));
        data.insert("call_id".to_owned(), json!(message.call.id));
        data.insert("lead_id".to_owned(), json!(found.lead.as_ref().map(|lead| lead.id)));
        let id = verified.fingerprint();
        let notice = Notice { org_id: found.org_id, id: &id, kind: inquiry.kind.as_str(), data: Value::Object(data) };
        let posted = self.endpoints.post(endpoint.address(), &notice, until).await;
        let posted = posted.map_err(|error| error.code());
        match posted.and_then(|body| inquiry.kind.read_answer(&body).ok_or(FailureCode::ToolAnswerUnreadable)) {
            Ok(answer) => Some(answer),
            Err(code) => {
                counts.add(Metric::ToolFailed, 1);
                counts.field("failure.code", code.to_string());
                tracing::warn!(
                    org.id = %found.org_id, message.r#type = inquiry.kind.as_str(), failure.code = %code,
                    "an endpoint did not answer a question"
                );
                None
            }
        }
    }

    async fn find(
        &self,
        verified: &Verified<'_>,
        message: &Interactive,
        message_type: &str,
    ) -> Result<Admission<Found>, Failure> {
        let (credential, received_at) = (verified.credential(), verified.received_at());
        let sender = Sender { credential, received_at, call: &message.call };
        let found = catch_panics(find_answer(&self.database, &sender, message_type));
        tokio::time::timeout(TIMEOUT, found).await.unwrap_or_else(|_| Err(FailureCode::DatabaseTimeout.into()))
    }
}

fn unanswered(message: &Interactive, counts: &mut Counts) -> Value {
    counts.add(Metric::NothingConfigured, 1);
    nothing_configured(message)
}
