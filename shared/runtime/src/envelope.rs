//! Writes and reads the messages of event queues.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use ringfence_protocol::{Delivery, Envelope};
use serde::Serialize;

/// What an SQS message may hold, without what its attributes may need.
pub const MAX_MESSAGE_BYTES: usize = 1_048_576 - 256;
/// Larger deliveries are compressed; below this it is not worth the time.
const COMPRESS_ABOVE: usize = 64 * 1024;
/// No compressed message may unfold to more. The largest body that a Lambda function can receive is 6 MB, and each byte of it that
/// is no UTF-8 becomes three.
const MAX_UNFOLDED_BYTES: u64 = 18 * 1024 * 1024;

/// A delivery as a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// At most [`MAX_MESSAGE_BYTES`].
    Fits(String),
    /// Larger than a queue message may be, even when compressed.
    Oversize(String),
}

/// What a message holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Opened {
    /// A delivery.
    Event(Box<Delivery>),
    /// The key under which a delivery is parked.
    Parked(String),
}

/// A message cannot be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Larger than any event that can have come in.
    #[error("the event is too large: {0} bytes")]
    TooLarge(usize),
    /// Not a message of a format known here.
    #[error("the queue message is not an event")]
    Unreadable,
}

/// The delivery as a text, compressed if it is large.
pub fn seal(delivery: &Delivery) -> Result<Sealed, EnvelopeError> {
    let plain = to_json(&Envelope::Plain { delivery })?;
    if plain.len() <= COMPRESS_ABOVE {
        return Ok(Sealed::Fits(plain));
    }
    let json = to_json(delivery)?;
    // What could not be unfolded again must not be taken either.
    if json.len() as u64 > MAX_UNFOLDED_BYTES {
        return Err(EnvelopeError::TooLarge(json.len()));
    }
    let text = to_json(&Envelope::<Delivery>::Compressed { gzip: STANDARD.encode(compress(&json)?) })?;
    Ok(if text.len() <= MAX_MESSAGE_BYTES { Sealed::Fits(text) } else { Sealed::Oversize(text) })
}

/// The message of a delivery that is parked under a key.
pub fn parked(key: String) -> Result<String, EnvelopeError> {
    to_json(&Envelope::<Delivery>::Parked { parked: key })
}

fn compress(json: &str) -> Result<Vec<u8>, EnvelopeError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(json.as_bytes()).and_then(|()| encoder.finish()).map_err(|_| EnvelopeError::Unreadable)
}

/// What is in a message.
pub fn open(message: &str) -> Result<Opened, EnvelopeError> {
    match serde_json::from_str(message).map_err(|_| EnvelopeError::Unreadable)? {
        Envelope::Plain { delivery } => Ok(Opened::Event(delivery)),
        Envelope::Compressed { gzip } => {
            let bytes = STANDARD.decode(gzip).map_err(|_| EnvelopeError::Unreadable)?;
            let mut json = String::new();
            GzDecoder::new(bytes.as_slice())
                .take(MAX_UNFOLDED_BYTES)
                .read_to_string(&mut json)
                .map_err(|_| EnvelopeError::Unreadable)?;
            serde_json::from_str(&json).map(Opened::Event).map_err(|_| EnvelopeError::Unreadable)
        }
        Envelope::Parked { parked } => Ok(Opened::Parked(parked)),
    }
}

fn to_json(value: &impl Serialize) -> Result<String, EnvelopeError> {
    serde_json::to_string(value).map_err(|_| EnvelopeError::Unreadable)
}

#[cfg(test)]
mod tests {
    use ringfence_protocol::Credential;
    use ringfence_vapi::{Message, parse};

    use super::*;

    fn delivery(sample: &[u8]) -> Delivery {
        let received_at = "2026-11-22T12:00:00Z".parse().unwrap();
        let Message::Stored(stored) = parse(sample, received_at).unwrap().message else { panic!("not a stored event") };
        Delivery::new(Credential::Platform, stored, received_at)
    }

    fn event(opened: Result<Opened, EnvelopeError>) -> Delivery {
        let Ok(Opened::Event(delivery)) = opened else { panic!("{opened:?}") };
        *delivery
    }

    /// A report whose transcript is so many bytes, which compress or do not.
    fn report(transcript: String) -> Delivery {
        let sample = include_bytes!("../../../tests/samples/end-of-call-report.inbound-full.json");
        let mut body: serde_json::Value = serde_json::from_slice(sample).unwrap();
        // What the message itself says counts before what the artifact says.
        body["message"]["transcript"] = transcript.into();
        delivery(body.to_string().as_bytes())
    }

    #[test]
    fn a_small_event_travels_as_it_is() {
        let sent = delivery(include_bytes!("../../../tests/samples/status-update.ended.json"));
        let Sealed::Fits(message) = seal(&sent).unwrap() else { panic!("it fits") };
        assert!(message.starts_with(r#"{"v":"1","#), "{message}");
        assert_eq!(event(open(&message)), sent);
    }

    #[test]
    fn a_large_event_travels_compressed() {
        let sent = report("AI: How can I help?\nUser: My heater leaks.\n".repeat(50_000));
        let Sealed::Fits(message) = seal(&sent).unwrap() else { panic!("it fits") };
        assert!(message.starts_with(r#"{"v":"1z","#));
        assert!(message.len() < COMPRESS_ABOVE, "{}", message.len());
        assert_eq!(event(open(&message)), sent);
    }

    #[test]
    fn an_incompressible_event_is_oversize_and_can_be_opened() {
        let sent = report(std::iter::repeat_with(fastrand::alphanumeric).take(2_000_000).collect());
        let Sealed::Oversize(text) = seal(&sent).unwrap() else { panic!("it does not fit") };
        assert!(text.len() > MAX_MESSAGE_BYTES);
        assert_eq!(event(open(&text)), sent);
    }

    #[test]
    fn a_message_that_is_no_event_is_unreadable() {
        for message in ["", "{}", r#"{"v":"9"}"#, r#"{"v":"1z","gzip":"AAAA"}"#, r#"{"v":"1z","gzip":"?"}"#] {
            assert_eq!(open(message), Err(EnvelopeError::Unreadable), "{message}");
        }
    }
}
