//! The HTTP API of people's screens. Who presents an org's token gets what is that org's; everything else does not exist for it.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lambda_http::http::header::{AUTHORIZATION, CACHE_CONTROL};
use lambda_http::http::{HeaderValue, Response, StatusCode};
use lambda_http::{Body, Request, RequestExt as _};
use ringfence_core::error::Failure;
use ringfence_core::{Database, Recording, recordings};
use ringfence_edge::consumer::caught;
use ringfence_edge::problem::{answer, problem};
use ringfence_edge::{Bucket, Claims, Tokens};
use ringfence_vapi::FailureCode;
use serde_json::{Value, json};

/// How long a link plays. A player that is paused for longer asks for another.
const PLAYBACK: Duration = Duration::from_mins(5);

/// What answers people's screens.
pub struct Console {
    /// Who may ask.
    pub tokens: Tokens,
    /// What is asked.
    pub database: Arc<Database>,
    /// Where recordings are.
    pub bucket: Bucket,
}

impl Console {
    /// Answers `GET /api/calls/{call_id}/recordings/{kind}`.
    pub async fn answer(&self, request: Request) -> Response<Body> {
        let mut response = match caught(self.play(&request)).await {
            Ok(body) => answer(StatusCode::OK, &body),
            Err(failure) => {
                tracing::warn!(failure.code = %failure.code, db.sqlstate = failure.sqlstate, "a screen was not served");
                problem(failure.code, detail(failure.code))
            }
        };
        // What is answered is somebody's, and a link in it opens for whoever has it.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// A link that plays a recording for some minutes. That it was given out is in the audit log before it is.
    async fn play(&self, request: &Request) -> Result<Value, Failure> {
        let claims = self.claims(request)?;
        // What cannot be the name of a recording names none.
        let recording = named(request, &claims).ok_or(FailureCode::RecordingNotFound)?;
        let found = recordings::find(&self.database, &recording, &claims.holder).await?;
        let object = found.ok_or(FailureCode::RecordingNotFound)?;
        let expires_at = Timestamp::now() + SignedDuration::from_secs(PLAYBACK.as_secs().cast_signed());
        let url = self.bucket.link(&object.key, PLAYBACK).await?;
        tracing::info!(
            org.id = %claims.org_id, call.id = %recording.call_id, recording.kind = %recording.kind, "recording played back"
        );
        Ok(json!({
            "url": url,
            "expires_at": expires_at,
            "content_type": object.content_type,
            "bytes": object.bytes,
            "sha256": hex::encode(object.sha256),
        }))
    }

    /// Whoever presents a valid token, as `Authorization: Bearer`.
    fn claims(&self, request: &Request) -> Result<Claims, Failure> {
        let presented = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = presented.and_then(|value| value.strip_prefix("Bearer ")).ok_or(FailureCode::Unauthorised)?;
        Ok(self.tokens.verify(token, Timestamp::now()).map_err(|_| FailureCode::Unauthorised)?)
    }
}

fn named(request: &Request, claims: &Claims) -> Option<Recording> {
    let parameters = request.path_parameters();
    Some(Recording {
        org_id: claims.org_id,
        call_id: parameters.first("call_id")?.parse().ok()?,
        kind: parameters.first("kind")?.parse().ok()?,
    })
}

const fn detail(code: FailureCode) -> &'static str {
    match code {
        FailureCode::Unauthorised => "a valid token is needed",
        FailureCode::RecordingNotFound => "there is no such recording",
        _ => "try again later",
    }
}
