//! S3 buckets.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_types::SdkConfig;

use crate::error::BucketError;

/// Bounds one attempt to transfer a part of a recording, and all attempts together.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(70);

#[derive(Clone)]
pub struct Bucket {
    pub client: Client,
    pub name: String,
}

impl Bucket {
    #[must_use]
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into() }
    }

    /// A client whose timeouts suit transfers of some megabytes.
    #[must_use]
    pub fn client(aws: &SdkConfig) -> Client {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT)
            .build();
        Client::from_conf(aws_sdk_s3::config::Builder::from(aws).timeout_config(timeouts).build())
    }

    /// Deletes the object under a key. A missing object is no error.
    pub async fn delete(&self, key: &str) -> Result<(), BucketError> {
        let delete = self.client.delete_object().bucket(&self.name).key(key).send().await;
        delete.map(drop).map_err(|error| unavailable(&error))
    }

    /// A presigned link to the object under a key. Anyone who has the link can play the object for `lifetime`. Sends no
    /// request.
    pub async fn link(&self, key: &str, lifetime: Duration) -> Result<String, BucketError> {
        let presigning = PresigningConfig::expires_in(lifetime).map_err(|error| not_signed(&error))?;
        let get = self.client.get_object().bucket(&self.name).key(key).response_cache_control("private, no-store");
        let link = get.presigned(presigning).await.map_err(|error| not_signed(&error))?;
        Ok(link.uri().to_owned())
    }
}

impl Bucket {
    /// The scheme, host and port of the bucket's links.
    pub async fn origin(&self) -> Result<String, BucketError> {
        let link = self.link("origin", Duration::from_secs(1)).await?;
        Ok(link.splitn(4, '/').take(3).collect::<Vec<_>>().join("/"))
    }
}

/// Logs an S3 error. The SDK's errors contain their causes and none of the data that was sent.
pub fn unavailable(error: &(impl std::error::Error + Send + Sync + 'static)) -> BucketError {
    tracing::error!(error = %DisplayErrorContext(error), "the S3 request failed");
    BucketError::Unavailable
}

fn not_signed(error: &(impl std::error::Error + Send + Sync + 'static)) -> BucketError {
    tracing::error!(error = %DisplayErrorContext(error), "a link to an object could not be signed");
    BucketError::NotSigned
}
