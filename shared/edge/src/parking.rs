//! Where an event waits that no queue message can hold: in S3, with a message on its queue that says where.
//!
//! The door links no S3 client. It hands such an event to the event's own function ([`crate::handover`]), which parks it here.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::types::ServerSideEncryption;
use ringfence_core::Delivery;
use ringfence_vapi::FailureCode;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::auth::org_of;
use crate::configuration::{Environment, Misconfigured};
use crate::envelope::{self, Opened};

/// What the door asks of an event's function: `{"park": {"envelope", "code"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Park {
    /// The event, as a queue would hold it.
    pub envelope: String,
    /// Why it has to wait.
    pub code: FailureCode,
}

/// An event from a queue.
#[derive(Debug)]
pub struct Unparked {
    /// The event.
    pub delivery: Delivery,
    /// Where it was parked, if it was.
    pub key: Option<String>,
}

/// The bucket of parked events.
#[derive(Clone)]
pub struct Parking {
    client: Client,
    bucket: String,
}

impl Parking {
    /// The bucket in `PARKING_BUCKET`.
    pub fn from_environment(environment: &Environment<'_>, client: Client) -> Result<Self, Misconfigured> {
        Ok(Self { client, bucket: environment.required("PARKING_BUCKET")? })
    }

    /// Keeps an event and returns the message that says where.
    pub async fn park(&self, envelope: String) -> Result<String, FailureCode> {
        let Ok(Opened::Event(delivery)) = envelope::open(&envelope) else { return Err(FailureCode::EventUnreadable) };
        let key = key_of(&delivery);
        let put = self.client.put_object().bucket(&self.bucket).key(&key).body(envelope.into_bytes().into());
        let put = put.server_side_encryption(ServerSideEncryption::Aes256).send().await;
        put.map_err(|error| unavailable(&error))?;
        envelope::parked(key).map_err(|_| FailureCode::EventUnreadable)
    }

    /// The event of a queue's message, wherever it is.
    pub async fn open(&self, message: &str) -> Result<Unparked, FailureCode> {
        let key = match envelope::open(message).map_err(|_| FailureCode::EventUnreadable)? {
            Opened::Event(delivery) => return Ok(Unparked { delivery: *delivery, key: None }),
            Opened::Parked(key) => key,
        };
        match envelope::open(&self.get(&key).await?) {
            Ok(Opened::Event(delivery)) => Ok(Unparked { delivery: *delivery, key: Some(key) }),
            _ => Err(FailureCode::EventUnreadable),
        }
    }

    /// Removes an event that waits no longer. Should that fail, the bucket's lifecycle removes it.
    pub async fn remove(&self, key: &str) {
        if let Err(error) = self.client.delete_object().bucket(&self.bucket).key(key).send().await {
            tracing::warn!(error = %DisplayErrorContext(error), "a parked event could not be removed");
        }
    }

    async fn get(&self, key: &str) -> Result<String, FailureCode> {
        let object = self.client.get_object().bucket(&self.bucket).key(key).send().await.map_err(|error| {
            // What is gone does not come back. S3 says so only to who may list the bucket.
            let is_gone = error.as_service_error().is_some_and(GetObjectError::is_no_such_key);
            if is_gone { FailureCode::EventUnreadable } else { unavailable(&error) }
        })?;
        let bytes = object.body.collect().await.map_err(|error| unavailable(&error))?.into_bytes();
        String::from_utf8(bytes.into()).map_err(|_| FailureCode::EventUnreadable)
    }
}

/// By org and call, so that an org's or a call's parked events can be found. Random in the end: two deliveries are two objects.
fn key_of(delivery: &Delivery) -> String {
    let org = org_of(delivery.credential).map_or_else(|| "platform".to_owned(), |org| org.to_string());
    format!("{org}/{}/{}", delivery.event.call().id, Uuid::new_v4())
}

fn unavailable(error: &(impl std::error::Error + Send + Sync + 'static)) -> FailureCode {
    let code = FailureCode::ParkingUnavailable;
    tracing::error!(failure.code = %code, error = %DisplayErrorContext(error), "parking unavailable");
    code
}
