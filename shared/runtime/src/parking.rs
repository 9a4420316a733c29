//! Parks an event that is too large for a queue message: the event is stored in S3, and a message on its queue names the object.
//!
//! The webhook function links no S3 client. It hands such an event to the event's own function ([`crate::handover`]), which
//! parks it.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::types::ServerSideEncryption;
use aws_types::SdkConfig;
use ringfence_protocol::Delivery;
use ringfence_protocol::envelope::{ParkRequest, ParkedEvent};
use ringfence_vapi::FailureCode;
use uuid::Uuid;

use crate::codes::Coded;
use crate::configuration::{Environment, Misconfigured};
use crate::envelope::{self, EnvelopeError, Opened};

/// The longest wait for S3, all attempts together. Shorter than the timeout of the webhook function for the handover.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(7);

/// An event could not be parked, or not be read from where it is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParkingError {
    /// A message or an object holds no event.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// A parked event names another parked event.
    #[error("a parked event holds no event")]
    NoEvent,
    /// The object does not exist: the bucket's lifecycle has removed it.
    #[error("the parked event does not exist")]
    Gone,
    /// S3 was not reached in time, or refused the request. The cause is in the log.
    #[error("S3 is unavailable")]
    Unavailable,
}

impl Coded for ParkingError {
    fn code(&self) -> FailureCode {
        match self {
            Self::Envelope(error) => error.code(),
            Self::NoEvent | Self::Gone => FailureCode::EventUnreadable,
            Self::Unavailable => FailureCode::ParkingUnavailable,
        }
    }
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

    /// A client whose timeouts allow for some megabytes. All attempts share one timeout, because the webhook function waits.
    #[must_use]
    pub fn client(aws: &SdkConfig) -> Client {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(OPERATION_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT)
            .build();
        Client::from_conf(aws_sdk_s3::config::Builder::from(aws).timeout_config(timeouts).build())
    }

    /// Keeps an event and returns the message that says where.
    pub async fn park(&self, request: ParkRequest) -> Result<String, ParkingError> {
        let ParkedEvent { folder, envelope, .. } = request.park;
        // Random in the end: two deliveries are two objects.
        let key = format!("{folder}/{}", Uuid::new_v4());
        let put = self.client.put_object().bucket(&self.bucket).key(&key).body(envelope.into_bytes().into());
        let put = put.server_side_encryption(ServerSideEncryption::Aes256).send().await;
        put.map_err(|error| unavailable(&error))?;
        Ok(envelope::parked(key)?)
    }

    /// The event of a queue's message, wherever it is. A parked one stays where it is when it was applied, since its message may be
    /// delivered again; the bucket's lifecycle removes it, and so does an erasure.
    pub async fn open(&self, message: &str) -> Result<Delivery, ParkingError> {
        match envelope::open(message)? {
            Opened::Event(delivery) => Ok(*delivery),
            Opened::Parked(key) => self.read(&key).await,
        }
    }

    /// The key of the object that a message names. None: the message holds its event itself, or cannot be read.
    #[must_use]
    pub fn key_of(message: &str) -> Option<String> {
        match envelope::open(message) {
            Ok(Opened::Parked(key)) => Some(key),
            Ok(Opened::Event(_)) | Err(_) => None,
        }
    }

    /// The event in an object.
    pub async fn read(&self, key: &str) -> Result<Delivery, ParkingError> {
        // The client's own limit ends with the answer's head.
        let parked = tokio::time::timeout(OPERATION_TIMEOUT, self.get(key)).await;
        match envelope::open(&parked.map_err(|elapsed| unavailable(&elapsed))??)? {
            Opened::Event(delivery) => Ok(*delivery),
            Opened::Parked(_) => Err(ParkingError::NoEvent),
        }
    }

    /// At most 1 000 keys that begin with a prefix, in order, after another key.
    pub async fn keys(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, ParkingError> {
        let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let page = list.set_start_after(after.map(str::to_owned)).send().await.map_err(|error| unavailable(&error))?;
        Ok(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect())
    }

    /// Deletes an object. A missing object is no error.
    pub async fn delete(&self, key: &str) -> Result<(), ParkingError> {
        let delete = self.client.delete_object().bucket(&self.bucket).key(key).send().await;
        delete.map(drop).map_err(|error| unavailable(&error))
    }

    async fn get(&self, key: &str) -> Result<String, ParkingError> {
        let object = self.client.get_object().bucket(&self.bucket).key(key).send().await.map_err(|error| {
            // What is gone does not come back. S3 says so only to who may list the bucket.
            let is_gone = error.as_service_error().is_some_and(GetObjectError::is_no_such_key);
            if is_gone { ParkingError::Gone } else { unavailable(&error) }
        })?;
        let bytes = object.body.collect().await.map_err(|error| unavailable(&error))?.into_bytes();
        String::from_utf8(bytes.into()).map_err(|_| EnvelopeError::Unreadable.into())
    }
}

fn unavailable(error: &(impl std::error::Error + Send + Sync + 'static)) -> ParkingError {
    tracing::error!(error = %DisplayErrorContext(error), "parking unavailable");
    ParkingError::Unavailable
}
