//! Messages for the retry queues of the deployed stack.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ringfence_protocol::{Credential, Delivery};
use ringfence_runtime::envelope::{self, Sealed};
use ringfence_vapi::{Function, Message, OrgId, parse};
use strum::IntoEnumIterator as _;

use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::local::queues::{RECORDINGS, client, depth, send};
use ringfence_harness::wait::wait_until;
use ringfence_simulate::bodies_of;
use ringfence_simulate::plan::Call;

/// Sends a call's events to the queues of their functions, as the webhook function does while the database is
/// unavailable.
pub(super) async fn queue_events(
    aws_endpoint: &str,
    outputs: &BTreeMap<String, String>,
    org_id: OrgId,
    call: &Call,
) -> Result<usize> {
    let sqs = client(aws_endpoint);
    let bodies = bodies_of(call);
    for body in &bodies {
        let received_at = Timestamp::now();
        let parsed = parse(body.to_string().as_bytes(), received_at).context("read a simulated body")?;
        let Message::Stored(stored) = parsed.message else {
            return Err(Error::new("a simulated body is not a stored event"));
        };
        let url = output(outputs, stored.event.function().as_str(), "QueueUrl")?;
        let delivery = Delivery::new(Credential::Org { org_id, key_version: 1 }, stored, received_at);
        let Sealed::Fits(message) = envelope::seal(&delivery).context("seal an event")? else {
            return Err(Error::new("a simulated event is too large for a message"));
        };
        send(&sqs, url, &message).await?;
    }
    Ok(bodies.len())
}

/// Sends a message that is not an event to each retry queue, and waits until all have become dead letters. Returns
/// their number.
pub(super) async fn give_up(
    aws_endpoint: &str,
    outputs: &BTreeMap<String, String>,
    timeout: Duration,
) -> Result<usize> {
    let sqs = client(aws_endpoint);
    let consumers = || Function::iter().map(Function::as_str).chain([RECORDINGS]);
    for consumer in consumers() {
        send(&sqs, output(outputs, consumer, "QueueUrl")?, "no event").await?;
    }
    let deadline = Instant::now() + timeout;
    for consumer in consumers() {
        let dead_letters = output(outputs, consumer, "DeadLettersUrl")?;
        let is_dead = async || Ok(depth(&sqs, dead_letters).await? > 0);
        if !wait_until(deadline.saturating_duration_since(Instant::now()), is_dead).await? {
            return Err(Error::new(format!("an invalid message did not become a dead letter of {consumer}")));
        }
    }
    Ok(consumers().count())
}

/// Value of an output for a function's queues, such as `CallStartedQueueUrl`.
fn output<'a>(outputs: &'a BTreeMap<String, String>, consumer: &str, suffix: &str) -> Result<&'a str> {
    let name = format!("{}{suffix}", camel_case(consumer));
    let value = outputs.get(&name).ok_or_else(|| Error::new(format!("the stack has no output {name}")))?;
    Ok(value)
}

/// Converts `call-started` to `CallStarted`, as in the template.
fn camel_case(name: &str) -> String {
    let capitalised = |word: &str| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    };
    name.split('-').map(capitalised).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_template() {
        assert_eq!(camel_case("end-of-call-report"), "EndOfCallReport");
    }
}
