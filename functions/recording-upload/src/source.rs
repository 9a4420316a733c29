//! Opens recordings: from Vapi's presigned link while it is valid, otherwise from Vapi's API with the org's key.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use jiff::{SignedDuration, Timestamp};
use lambda_http::http::{Request, Response, StatusCode, Uri, header};
use ringfence_core::recordings::Lease;
use ringfence_egress::vapi_api::{VAPI_API, is_busy};
use ringfence_egress::{EgressClient, EgressError, VapiApi, VapiApiError};
use ringfence_identity::{ApiKeySealer, KeyRing, KeyRingError, LinkSealer};
use ringfence_protocol::Recording;
use ringfence_runtime::{Coded, Environment, Misconfigured};
use ringfence_vapi::{FailureClass, FailureCode};

use crate::hosts::Hosts;

/// The size limit of a recording. A stereo recording of Vapi takes 230 MB an hour.
pub const MAX_BYTES: u64 = 1024 * 1024 * 1024;
/// The longest wait for the head of a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);
/// A link that expires within this time is not used.
const EXPIRY_MARGIN: SignedDuration = SignedDuration::from_secs(10);

/// A recording could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SourceError {
    /// There is no link, or the link has expired.
    #[error("no link is valid")]
    Expired,
    /// Vapi has no such recording, or not yet.
    #[error("Vapi has no such recording, or not yet")]
    NotFound,
    /// A link leads to a host or an address that is not allowed, or redirects.
    #[error("a link leads to a place that is not allowed")]
    Refused,
    /// The recording has more than [`MAX_BYTES`].
    #[error("the recording is too large")]
    TooLarge,
    /// The server was not reached in time, or says that a later request may succeed.
    #[error("the server is not reached")]
    Unreachable,
    /// The response does not say how long it is, so a recording that was cut short would look whole.
    #[error("the response has no length")]
    NoLength,
    /// Vapi refuses the org's API key, or the key cannot be opened.
    #[error("the API key is refused")]
    KeyRefused,
}

impl Coded for SourceError {
    fn code(&self) -> FailureCode {
        match self {
            Self::Expired => FailureCode::RecordingExpired,
            Self::NotFound => FailureCode::RecordingNotFound,
            Self::Refused => FailureCode::RecordingRefused,
            Self::TooLarge => FailureCode::RecordingTooLarge,
            Self::Unreachable | Self::NoLength => FailureCode::RecordingUnreachable,
            Self::KeyRefused => FailureCode::RecordingForbidden,
        }
    }
}

impl From<EgressError> for SourceError {
    fn from(error: EgressError) -> Self {
        match error {
            EgressError::AddressRefused => Self::Refused,
            EgressError::Unreachable | EgressError::ConnectionLost => Self::Unreachable,
        }
    }
}

impl From<VapiApiError> for SourceError {
    fn from(error: VapiApiError) -> Self {
        match error {
            VapiApiError::KeyRefused => Self::KeyRefused,
            // Vapi documents no other answer than a redirect for a recording that exists.
            VapiApiError::NotFound | VapiApiError::Status(_) => Self::NotFound,
            VapiApiError::AddressRefused | VapiApiError::Unreadable => Self::Refused,
            VapiApiError::Busy(_) | VapiApiError::Unreachable | VapiApiError::Timeout => Self::Unreachable,
        }
    }
}

pub struct Source {
    outbound: EgressClient,
    links: LinkSealer,
    api_keys: ApiKeySealer,
    hosts: Hosts,
    api: VapiApi,
}

impl Source {
    /// Links may lead to `hosts` only. `api_url` is the base URL of Vapi's API.
    pub fn new(
        outbound: EgressClient,
        keys: &KeyRing,
        hosts: Hosts,
        api_url: impl Into<String>,
    ) -> Result<Self, KeyRingError> {
        let (links, api_keys) = (keys.link_sealer()?, keys.api_key_sealer()?);
        Ok(Self { api: VapiApi::new(outbound.clone(), api_url), outbound, links, api_keys, hosts })
    }

    /// With `EGRESS_POLICY`, `RINGFENCE_KEYS` and `RECORDING_HOSTS`.
    pub fn from_environment(environment: &Environment<'_>) -> Result<Self, Misconfigured> {
        let outbound = EgressClient::new(environment.egress_policy()?);
        let hosts = Hosts::from_setting(environment.optional("RECORDING_HOSTS").as_deref())?;
        Ok(Self::new(outbound, &environment.keys()?, hosts, VAPI_API)?)
    }

    /// A response whose body is the recording, from the link or from the API. If both fail, the error of the API,
    /// unless only the link's error is transient.
    pub(crate) async fn open(&self, recording: &Recording, lease: &Lease) -> Result<Incoming, SourceError> {
        let by_link = self.by_link(recording, lease).await;
        let response = match (by_link, &lease.api_key) {
            (Ok(response), _) => response,
            (Err(error), None) => return Err(error),
            (Err(by_link), Some(sealed)) => {
                tracing::info!(
                    failure.code = %by_link.code(), call.id = %recording.call_id,
                    "the link failed: the recording is fetched from Vapi's API"
                );
                let by_api = match self.api_keys.open(recording.org_id, sealed) {
                    Some(key) => self.by_api(recording, &key).await,
                    None => Err(SourceError::KeyRefused),
                };
                // A transient error of the link allows a retry, so a permanent error of the API does not replace it.
                let is_worse = |by_api: SourceError| is_transient(by_link) && !is_transient(by_api);
                by_api.map_err(|by_api| if is_worse(by_api) { by_link } else { by_api })?
            }
        };
        // Without either header, a truncated body could not be detected.
        let headers = response.headers();
        if !headers.contains_key(header::CONTENT_LENGTH) && !headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(SourceError::NoLength);
        }
        let length =
            response.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| length > MAX_BYTES) {
            return Err(SourceError::TooLarge);
        }
        Ok(response.into_body())
    }

    async fn by_link(&self, recording: &Recording, lease: &Lease) -> Result<Response<Incoming>, SourceError> {
        let expired = lease.link_expires_at.is_some_and(|expires_at| expires_at < Timestamp::now() + EXPIRY_MARGIN);
        let link = lease.link.as_ref().filter(|_| !expired).ok_or(SourceError::Expired)?;
        let link = self.links.open(recording.org_id, &recording.call_id, recording.kind, link);
        let response = self.get(&link.ok_or(SourceError::Expired)?).await?;
        match response.status() {
            status if status.is_success() => Ok(response),
            // A link leads to the recording itself, so redirects are not followed.
            status if status.is_redirection() => Err(SourceError::Refused),
            StatusCode::NOT_FOUND => Err(SourceError::NotFound),
            status if is_busy(status) => Err(SourceError::Unreachable),
            _ => Err(SourceError::Expired),
        }
    }

    /// Vapi's API redirects to a link that works for a moment.
    async fn by_api(&self, recording: &Recording, key: &str) -> Result<Response<Incoming>, SourceError> {
        let link = self.api.recording(key, &recording.call_id, recording.kind).await?;
        let response = self.get(&link).await?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status if status.is_redirection() => Err(SourceError::Refused),
            status if is_busy(status) => Err(SourceError::Unreachable),
            _ => Err(SourceError::NotFound),
        }
    }

    async fn get(&self, url: &str) -> Result<Response<Incoming>, SourceError> {
        let request = request(url).filter(|request| self.hosts.allow(request.uri()));
        self.send(request.ok_or(SourceError::Refused)?).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, SourceError> {
        let sent = tokio::time::timeout(RESPONSE_TIMEOUT, self.outbound.send(request)).await;
        Ok(sent.map_err(|_| SourceError::Unreachable)??)
    }
}

fn request(url: &str) -> Option<Request<Full<Bytes>>> {
    let url: Uri = url.parse().ok()?;
    let request = Request::get(url).header(header::USER_AGENT, "ringfence").header(header::ACCEPT, "*/*");
    request.body(Full::default()).ok()
}

fn is_transient(error: SourceError) -> bool {
    error.class() == FailureClass::Transient
}
