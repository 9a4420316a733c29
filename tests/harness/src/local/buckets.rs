//! Buckets of the template: parked events and recordings.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::operation::create_bucket::CreateBucketError;

use super::queues::configuration;
use crate::error::{Error, Result};

/// Bucket of parked events.
pub const PARKING: &str = "ringfence-parking";
/// Bucket of recordings.
pub const RECORDINGS: &str = "ringfence-recordings";

/// Client of the local S3.
#[must_use]
pub fn client(endpoint: &str) -> Client {
    Client::new(&configuration(endpoint))
}

/// Creates the buckets that do not exist.
pub async fn create(client: &Client) -> Result<()> {
    for name in [PARKING, RECORDINGS] {
        let Err(error) = client.create_bucket().bucket(name).send().await else { continue };
        let is_there = matches!(
            error.as_service_error(),
            Some(CreateBucketError::BucketAlreadyOwnedByYou(_) | CreateBucketError::BucketAlreadyExists(_))
        );
        if !is_there {
            return Err(Error::new(format!("could not create the bucket {name}: {}", DisplayErrorContext(error))));
        }
    }
    Ok(())
}
