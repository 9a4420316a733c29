//! Opens recordings: from Vapi's presigned link while it is valid, otherwise from Vapi's API with the org's key.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use jiff::{SignedDuration, Timestamp};
use lambda_http::http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use ringfence_core::recordings::Lease;
use ringfence_egress::vapi_api::VAPI_API;
use ringfence_egress::{EgressClient, EgressError};
use ringfence_identity::Sealer;
use ringfence_protocol::Recording;
use ringfence_runtime::{Environment, Misconfigured};
use ringfence_vapi::{FailureClass, FailureCode};

use crate::hosts::Hosts;

/// The size limit of a recording. A stereo recording of Vapi takes 230 MB an hour.
pub const MAX_BYTES: u64 = 1024 * 1024 * 1024;
/// The longest wait for the head of a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);
/// A link that expires within this time is not used.
const EXPIRY_MARGIN: SignedDuration = SignedDuration::from_secs(10);

pub struct Source {
    outbound: EgressClient,
    sealer: Sealer,
    hosts: Hosts,
    api_url: String,
}

impl Source {
    /// Links may lead to `hosts` only. `api_url` is the base URL of Vapi's API.
    #[must_use]
    pub fn new(outbound: EgressClient, sealer: Sealer, hosts: Hosts, api_url: impl Into<String>) -> Self {
        Self { outbound, sealer, hosts, api_url: api_url.into() }
    }

    /// With `EGRESS_POLICY`, `RINGFENCE_MASTER_KEYS` and `RECORDING_HOSTS`.
    pub fn from_environment(environment: &Environment<'_>) -> Result<Self, Misconfigured> {
        let outbound = EgressClient::new(environment.egress_policy()?);
        let hosts = Hosts::from_setting(environment.optional("RECORDING_HOSTS").as_deref())?;
        let sealer = Sealer::new(&environment.master_keys()?);
        Ok(Self::new(outbound, sealer, hosts, VAPI_API))
    }

    /// A response whose body is the recording, from the link or from the API. If both fail, the error of the API,
    /// unless only the link's error is transient.
    pub(crate) async fn open(&self, recording: &Recording, lease: &Lease) -> Result<Incoming, FailureCode> {
        let by_link = self.by_link(recording, lease).await;
        let response = match (by_link, &lease.api_key) {
            (Ok(response), _) => response,
            (Err(code), None) => return Err(code),
            (Err(code), Some(sealed)) => {
                tracing::info!(
                    failure.code = %code, call.id = %recording.call_id,
                    "the link failed: the recording is fetched from Vapi's API"
                );
                let by_api = match self.sealer.open_api_key(recording.org_id, sealed) {
                    Some(key) => self.by_api(recording, &key).await,
                    None => Err(FailureCode::RecordingForbidden),
                };
                // A transient error of the link allows a retry, so a permanent error of the API does not replace it.
                let is_worse = |by_api: FailureCode| is_transient(code) && !is_transient(by_api);
                by_api.map_err(|by_api| if is_worse(by_api) { code } else { by_api })?
            }
        };
        // Without either header, a truncated body could not be detected.
        let headers = response.headers();
        if !headers.contains_key(header::CONTENT_LENGTH) && !headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(FailureCode::RecordingUnreachable);
        }
        let length =
            response.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| length > MAX_BYTES) {
            return Err(FailureCode::RecordingTooLarge);
        }
        Ok(response.into_body())
    }

    async fn by_link(&self, recording: &Recording, lease: &Lease) -> Result<Response<Incoming>, FailureCode> {
        let expired = lease.link_expires_at.is_some_and(|expires_at| expires_at < Timestamp::now() + EXPIRY_MARGIN);
        let link = lease.link.as_ref().filter(|_| !expired).ok_or(FailureCode::RecordingExpired)?;
        let link = self.sealer.open_link(&recording.call_id, recording.kind, link);
        let response = self.get(&link.ok_or(FailureCode::RecordingExpired)?).await?;
        match response.status() {
            status if status.is_success() => Ok(response),
            // A link leads to the recording itself, so redirects are not followed.
            status if status.is_redirection() => Err(FailureCode::RecordingRefused),
            StatusCode::NOT_FOUND => Err(FailureCode::RecordingNotFound),
            status if is_busy(status) => Err(FailureCode::RecordingUnreachable),
            _ => Err(FailureCode::RecordingExpired),
        }
    }

    /// Vapi's endpoint redirects to a link that is valid for a short time.
    async fn by_api(&self, recording: &Recording, key: &str) -> Result<Response<Incoming>, FailureCode> {
        let url = format!("{}/call/{}/{}", self.api_url, recording.call_id, recording.kind.endpoint());
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| FailureCode::RecordingForbidden)?;
        authorization.set_sensitive(true);
        let mut request = request(&url).ok_or(FailureCode::RecordingRefused)?;
        request.headers_mut().insert(header::AUTHORIZATION, authorization);
        let response = self.send(request).await?;
        match response.status() {
            status if status.is_redirection() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(FailureCode::RecordingForbidden),
            status if is_busy(status) => return Err(FailureCode::RecordingUnreachable),
            _ => return Err(FailureCode::RecordingNotFound),
        }
        let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        // Without the key, because the link itself gives access.
        let response = self.get(location.ok_or(FailureCode::RecordingRefused)?).await?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status if status.is_redirection() => Err(FailureCode::RecordingRefused),
            status if is_busy(status) => Err(FailureCode::RecordingUnreachable),
            _ => Err(FailureCode::RecordingNotFound),
        }
    }

    async fn get(&self, url: &str) -> Result<Response<Incoming>, FailureCode> {
        let request = request(url).filter(|request| self.hosts.allow(request.uri()));
        self.send(request.ok_or(FailureCode::RecordingRefused)?).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, FailureCode> {
        let sent = tokio::time::timeout(RESPONSE_TIMEOUT, self.outbound.send(request)).await;
        sent.map_err(|_| FailureCode::RecordingUnreachable)?.map_err(|error| match error {
            EgressError::AddressRefused => FailureCode::RecordingRefused,
            EgressError::Unreachable | EgressError::ConnectionLost => FailureCode::RecordingUnreachable,
        })
    }
}

fn request(url: &str) -> Option<Request<Full<Bytes>>> {
    let url: Uri = url.parse().ok()?;
    let request = Request::get(url).header(header::USER_AGENT, "ringfence").header(header::ACCEPT, "*/*");
    request.body(Full::default()).ok()
}

fn is_transient(code: FailureCode) -> bool {
    code.class() == FailureClass::Transient
}

/// Whether a retry may succeed.
fn is_busy(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT
}
