//! Stores recordings in the bucket. A small recording is put with one request and a large one in parts, so that at most
//! one part is in memory. S3 shows the object only when it is complete.

use std::time::{Duration, Instant};

use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, ServerSideEncryption};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use ringfence_aws::bucket::unavailable;
use ringfence_aws::{Bucket, BucketError};
use ringfence_core::recordings::StoredObject;
use ringfence_runtime::Coded;
use ringfence_vapi::FailureCode;
use sha2::{Digest as _, Sha256};

use crate::media::{HEAD_BYTES, media_type};
use crate::source::MAX_BYTES;

/// S3 accepts parts of 5 MB and more, up to 10 000 of them.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// The bytes by which one read may exceed a part.
const READ_BYTES: usize = 64 * 1024;
/// A sender that sends nothing for this time is treated as dead.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A recording could not be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// Vapi has not finished the recording.
    #[error("the recording is empty")]
    Empty,
    /// The recording has more than [`MAX_BYTES`].
    #[error("the recording is too large")]
    TooLarge,
    /// The source sent nothing for [`READ_TIMEOUT`], or the connection ended before the last byte.
    #[error("the recording was cut short")]
    CutShort,
    /// The upload took too long.
    #[error("the upload did not end in time")]
    Timeout,
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

impl Coded for StoreError {
    fn code(&self) -> FailureCode {
        match self {
            Self::Empty => FailureCode::RecordingNotFound,
            Self::TooLarge => FailureCode::RecordingTooLarge,
            Self::CutShort | Self::Timeout => FailureCode::RecordingUnreachable,
            Self::Bucket(error) => error.code(),
        }
    }
}

pub(crate) struct Store<'a>(pub(crate) &'a Bucket);

/// A multipart upload in progress.
struct Multipart {
    id: String,
    parts: Vec<CompletedPart>,
}

/// The body of a recording, and the totals of what has been read so far.
struct Reader {
    body: Incoming,
    digest: Sha256,
    bytes: u64,
    head: Vec<u8>,
}

impl Store<'_> {
    /// Stores a body until `until` at the latest. S3 checks each part against its SHA-256. A truncated body is an
    /// error, because its length or its last chunk is missing.
    pub(crate) async fn store(&self, key: String, body: Incoming, until: Instant) -> Result<StoredObject, StoreError> {
        let mut reader = Reader { body, digest: Sha256::new(), bytes: 0, head: Vec::with_capacity(HEAD_BYTES) };
        let first = reader.part().await?;
        if first.is_empty() {
            return Err(StoreError::Empty);
        }
        let content_type = media_type(&reader.head);
        if first.len() < PART_BYTES {
            self.put(&key, content_type, first).await?;
        } else {
            self.put_in_parts(&key, content_type, first, &mut reader, until).await?;
        }
        let bytes = i64::try_from(reader.bytes).map_err(|_| StoreError::TooLarge)?;
        let sha256 = reader.digest.finalize().to_vec();
        Ok(StoredObject { key, content_type: content_type.to_owned(), bytes, sha256 })
    }

    async fn put(&self, key: &str, content_type: &str, body: Vec<u8>) -> Result<(), StoreError> {
        let put = self.0.client.put_object().bucket(&self.0.name).key(key).content_type(content_type);
        let put = put.checksum_sha256(STANDARD.encode(Sha256::digest(&body))).body(body.into());
        let put = put.server_side_encryption(ServerSideEncryption::Aes256).send().await;
        put.map(drop).map_err(|error| unavailable(&error).into())
    }

    async fn put_in_parts(
        &self,
        key: &str,
        content_type: &str,
        first: Vec<u8>,
        reader: &mut Reader,
        until: Instant,
    ) -> Result<(), StoreError> {
        let create = self.0.client.create_multipart_upload().bucket(&self.0.name).key(key).content_type(content_type);
        let create = create.checksum_algorithm(ChecksumAlgorithm::Sha256);
        let created = create.server_side_encryption(ServerSideEncryption::Aes256).send().await;
        let id = created.map_err(|error| unavailable(&error))?.upload_id.ok_or(BucketError::Incomplete("upload id"))?;
        let mut upload = Multipart { id, parts: Vec::new() };
        let put = tokio::time::timeout_at(until.into(), self.put_parts(key, first, reader, &mut upload)).await;
        let result = put.unwrap_or(Err(StoreError::Timeout));
        if result.is_err() {
            let abort = self.0.client.abort_multipart_upload().bucket(&self.0.name).key(key).upload_id(&upload.id);
            if let Err(error) = abort.send().await {
                // The bucket's lifecycle rule removes the parts.
                tracing::warn!(error = %DisplayErrorContext(error), "an upload could not be aborted");
            }
        }
        result
    }

    async fn put_parts(
        &self,
        key: &str,
        first: Vec<u8>,
        reader: &mut Reader,
        upload: &mut Multipart,
    ) -> Result<(), StoreError> {
        let mut part = first;
        while !part.is_empty() {
            let number = i32::try_from(upload.parts.len() + 1).map_err(|_| StoreError::TooLarge)?;
            let checksum = STANDARD.encode(Sha256::digest(&part));
            let put =
                self.0.client.upload_part().bucket(&self.0.name).key(key).upload_id(&upload.id).part_number(number);
            let put =
                put.checksum_sha256(&checksum).body(part.into()).send().await.map_err(|error| unavailable(&error))?;
            let done = CompletedPart::builder().part_number(number).set_e_tag(put.e_tag).checksum_sha256(checksum);
            upload.parts.push(done.build());
            part = reader.part().await?;
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(upload.parts.clone())).build();
        let complete = self.0.client.complete_multipart_upload().bucket(&self.0.name).key(key).upload_id(&upload.id);
        complete.multipart_upload(parts).send().await.map(drop).map_err(|error| unavailable(&error).into())
    }

    /// The object under a key, with its size and hash. None: there is no object.
    pub(crate) async fn find(&self, key: &str) -> Result<Option<StoredObject>, StoreError> {
        let object = match self.0.client.get_object().bucket(&self.0.name).key(key).send().await {
            Ok(object) => object,
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => return Ok(None),
            Err(error) => return Err(unavailable(&error).into()),
        };
        let content_type = object.content_type.unwrap_or_else(|| media_type(&[]).to_owned());
        let (mut body, mut digest, mut bytes) = (object.body, Sha256::new(), 0);
        loop {
            let chunk = tokio::time::timeout(READ_TIMEOUT, body.try_next()).await;
            let chunk = chunk.map_err(|elapsed| unavailable(&elapsed))?.map_err(|error| unavailable(&error))?;
            let Some(chunk) = chunk else { break };
            digest.update(&chunk);
            bytes += i64::try_from(chunk.len()).map_err(|_| StoreError::TooLarge)?;
        }
        let sha256 = digest.finalize().to_vec();
        Ok(Some(StoredObject { key: key.to_owned(), content_type, bytes, sha256 }))
    }
}

impl Reader {
    /// The next part: `PART_BYTES` or slightly more, or the rest.
    async fn part(&mut self) -> Result<Vec<u8>, StoreError> {
        let mut part = Vec::with_capacity(PART_BYTES + READ_BYTES);
        while part.len() < PART_BYTES {
            let frame = tokio::time::timeout(READ_TIMEOUT, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| StoreError::CutShort)? else { break };
            let frame = frame.map_err(|_| StoreError::CutShort)?;
            let Some(data) = frame.data_ref() else { continue };
            self.bytes += data.len() as u64;
            if self.bytes > MAX_BYTES {
                return Err(StoreError::TooLarge);
            }
            self.digest.update(data);
            let missing = HEAD_BYTES.saturating_sub(self.head.len()).min(data.len());
            self.head.extend_from_slice(&data[..missing]);
            part.extend_from_slice(data);
        }
        Ok(part)
    }
}
