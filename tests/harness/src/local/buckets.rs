//! The buckets of the template: where events wait that no queue message can hold, and where recordings are kept.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::operation::create_bucket::CreateBucketError;

use super::queues::configuration;
use crate::error::{Error, Result};

/// Where events wait.
pub const PARKING: &str = "ringfence-parking";
/// Where recordings are kept.
pub const RECORDINGS: &str = "ringfence-recordings";

/// A client of the local S3.
#[must_use]
pub fn client(endpoint: &str) -> Client {
    Client::new(&configuration(endpoint))
}

/// Creates the buckets, unless they are there.
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
