//! Links that play recordings.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lambda_http::http::StatusCode;
use lambda_http::http::header::AUTHORIZATION;
use lambda_http::{Request, RequestExt as _};
use ringfence_core::error::Failure;
use ringfence_core::recordings;
use ringfence_identity::Audience;
use ringfence_protocol::Recording;
use ringfence_runtime::catch_panics;
use ringfence_runtime::problem::{answer, problem};
use ringfence_vapi::{FailureCode, OrgId};
use serde::Serialize;
use serde_json::json;

use crate::Console;
use crate::reply::Reply;

/// Lifetime of a link. A player that is paused for longer requests another one.
const PLAYBACK: Duration = Duration::from_mins(5);

/// A link that plays a recording.
#[derive(Debug, Serialize)]
pub(crate) struct Link {
    pub(crate) url: String,
    expires_at: Timestamp,
    content_type: String,
    bytes: i64,
    sha256: String,
}

impl Console {
    /// Answers `GET /api/calls/{call_id}/recordings/{kind}`. It accepts a viewer's token of the org.
    pub(crate) async fn play(&self, request: &Request) -> Reply {
        match catch_panics(self.by_token(request)).await {
            Ok(link) => answer(StatusCode::OK, &json!(link)),
            Err(failure) => {
                tracing::warn!(failure.code = %failure.code, db.sqlstate = failure.sqlstate, "recording playback refused");
                problem(failure.code, detail(failure.code))
            }
        }
    }

    async fn by_token(&self, request: &Request) -> Result<Link, Failure> {
        let presented = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = presented.and_then(|value| value.strip_prefix("Bearer ")).ok_or(FailureCode::Unauthorised)?;
        let claims =
            self.tokens.verify(Audience::Live, token, Timestamp::now()).map_err(|_| FailureCode::Unauthorised)?;
        let org = claims.org().ok_or(FailureCode::Unauthorised)?;
        let parameters = request.path_parameters();
        let named = |name| parameters.first(name).unwrap_or_default();
        self.link(org, &claims.holder, named("call_id"), named("kind")).await
    }

    /// Makes a link, after writing the access to the audit log.
    pub(crate) async fn link(&self, org: OrgId, holder: &str, call: &str, kind: &str) -> Result<Link, Failure> {
        // An id or kind that cannot be parsed belongs to no recording.
        let (Ok(call_id), Ok(kind)) = (call.parse(), kind.parse()) else {
            return Err(FailureCode::RecordingNotFound.into());
        };
        let recording = Recording { org_id: org, call_id, kind };
        let found = recordings::find(&self.database, &recording, holder).await?;
        let object = found.ok_or(FailureCode::RecordingNotFound)?;
        let expires_at = Timestamp::now() + SignedDuration::from_secs(PLAYBACK.as_secs().cast_signed());
        let url = self.bucket.link(&object.key, PLAYBACK).await?;
        tracing::info!(org.id = %org, call.id = %recording.call_id, recording.kind = %recording.kind, "recording played");
        let sha256 = hex::encode(object.sha256);
        Ok(Link { url, expires_at, content_type: object.content_type, bytes: object.bytes, sha256 })
    }
}

const fn detail(code: FailureCode) -> &'static str {
    match code {
        FailureCode::Unauthorised => "a valid token is required",
        FailureCode::RecordingNotFound => "recording not found",
        _ => "try again later",
    }
}
