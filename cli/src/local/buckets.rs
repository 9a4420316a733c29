//! The bucket of the template: where events wait that no queue message can hold.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::operation::create_bucket::CreateBucketError;

use super::queues::configuration;
use crate::error::{Error, Result};

/// The bucket's name.
pub(crate) const PARKING: &str = "ringfence-parking";

/// A client of the local S3.
pub(crate) fn client(endpoint: &str) -> Client {
    Client::new(&configuration(endpoint))
}

/// Creates the bucket, unless it is there.
pub(crate) async fn create(client: &Client) -> Result<()> {
    let Err(error) = client.create_bucket().bucket(PARKING).send().await else { return Ok(()) };
    match error.as_service_error() {
        Some(CreateBucketError::BucketAlreadyOwnedByYou(_) | CreateBucketError::BucketAlreadyExists(_)) => Ok(()),
        _ => Err(Error::new(format!("could not create the bucket {PARKING}: {}", DisplayErrorContext(error)))),
    }
}
