//! The console: pages that show calls and failures, the same data as JSON, and the playback of recordings.
//!
//! Every address of an org contains the org's id. People of that org may open it, and operators, whose access is
//! written to the audit log before the page is shown. An address of another org answers 404, as an address that does
//! not exist.

mod assets;
mod audit;
mod calls;
mod codes;
mod commands;
mod drift;
mod failures;
mod layout;
mod live;
mod numbers;
mod operations;
mod organizations;
mod playback;
mod query;
mod reply;
mod session;
mod sign_in;
mod subject;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lambda_http::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use lambda_http::{Body, Request, RequestExt as _};
use maud::{Markup, html};
use ringfence_aws::Bucket;
use ringfence_core::Database;
use ringfence_core::console::{self, CallFilter, FailureCursor};
use ringfence_core::error::Failure;
use ringfence_identity::{ConsoleTokenVerifier, LiveTokens, Scope};
use ringfence_protocol::admin::{ConsoleCommand, Operation};
use ringfence_runtime::catch_panics;
use ringfence_runtime::problem::problem_with;
use ringfence_vapi::{FailureCode, OrgId, VapiCallId};
use serde::Serialize;
use serde_json::json;

pub use commands::Commands;

use crate::layout::{Section, bare, page};
use crate::query::{InvalidParameter, Query};
use crate::reply::{Policy, Reply, see_other};
use crate::session::{Session, clear_cookie, is_same_origin, set_cookie};

/// Rows of a list per page.
const PAGE: i32 = 50;
/// The live page leaves out open calls that are older, because their end was not received.
const STALE: SignedDuration = SignedDuration::from_hours(6);
/// Lifetime of a token for the WebSocket API, unless the session ends earlier.
const LIVE_TOKEN: Duration = Duration::from_mins(15);

/// Handles the requests to the console.
pub struct Console {
    pub console_tokens: ConsoleTokenVerifier,
    pub live_tokens: LiveTokens,
    pub database: Arc<Database>,
    /// The bucket of the recordings.
    pub bucket: Bucket,
    pub commands: Commands,
    /// URL of the WebSocket API.
    pub live_url: String,
}

/// Why a request is not answered with its page.
enum PageError {
    /// The address does not exist, or the session has no access to it.
    NotFound,
    /// The request has no valid token.
    Unauthenticated,
    /// The form was sent from a page of another host.
    CrossOrigin,
    /// The parameter of this name is missing or invalid.
    InvalidParameter(&'static str),
    /// The database, S3 or Lambda failed.
    Failed(Failure),
}

impl From<Failure> for PageError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<FailureCode> for PageError {
    fn from(code: FailureCode) -> Self {
        Self::Failed(code.into())
    }
}

impl From<InvalidParameter> for PageError {
    fn from(InvalidParameter(name): InvalidParameter) -> Self {
        Self::InvalidParameter(name)
    }
}

type PageResult = Result<Reply, PageError>;

/// An authenticated request to a page of an org.
struct PageRequest<'a> {
    org: OrgId,
    session: &'a Session,
    query: Query,
    form: Query,
    wants_json: bool,
}

impl Console {
    pub async fn answer(&self, request: Request) -> Response<Body> {
        let path = request.raw_http_path().to_owned();
        let mut reply = if path.starts_with("/api/") {
            self.play(&request).await
        } else {
            let answer = catch_panics(async { Ok(self.page(&request, &path).await) }).await;
            answer
                .unwrap_or_else(|failure| Err(failure.into()))
                .unwrap_or_else(|error| self.error_reply(&request, error))
        };
        // S3's host differs by region and bucket.
        let media = self.bucket.origin().await.unwrap_or_default();
        Policy { media, live: origin(&self.live_url) }.apply(&mut reply);
        ringfence_runtime::sentry::flush().await;
        reply
    }

    async fn page(&self, request: &Request, path: &str) -> PageResult {
        let segments: Vec<&str> = path.trim_matches('/').split('/').skip(1).collect();
        match (request.method(), segments.as_slice()) {
            (&Method::GET, ["assets", _, name]) => return assets::find(name).ok_or(PageError::NotFound),
            (&Method::GET, ["sign-in"]) => return Ok(sign_in_page(StatusCode::OK, false)),
            (&Method::POST, ["session"]) => return self.start_session(request),
            _ => {}
        }
        let session = Session::of(request, &self.console_tokens).ok_or(PageError::Unauthenticated)?;
        if request.method() != Method::GET && session.by_cookie && !is_same_origin(request.headers()) {
            return Err(PageError::CrossOrigin);
        }
        match (request.method(), segments.as_slice()) {
            (&Method::GET, []) => Ok(see_other(&match session.claims.scope {
                Scope::Org(org) => Section::Live.path(org),
                Scope::Operator => "/console/orgs".to_owned(),
            })),
            (&Method::POST, ["sign-out"]) => Ok(with_cookie(see_other("/console/sign-in"), &clear_cookie())),
            (&Method::GET, ["codes", code]) => {
                let text = codes::find(code).ok_or(PageError::NotFound)?;
                let title = text.lines().next().unwrap_or_default().trim_start_matches("# ");
                Ok(reply::page(StatusCode::OK, bare(title, Some(&session), &codes::render(text))))
            }
            (&Method::GET, ["orgs"]) if session.is_operator() => {
                let shown = console::organizations(&self.database, &session.claims.holder).await?;
                let page = || bare("Orgs", Some(&session), &organizations::list(&shown));
                Ok(either(wants_json(request.headers()), &shown, page))
            }
            (method, [org, rest @ ..]) => {
                let org = org.parse().map_err(|_| PageError::NotFound)?;
                let page_request = PageRequest {
                    org,
                    session: &session,
                    query: Query::read(request.uri().query().unwrap_or_default().as_bytes()),
                    form: Query::read(request.body()),
                    wants_json: wants_json(request.headers()),
                };
                self.authorize(&page_request, rest).await?;
                self.route(&page_request, method, rest).await
            }
            _ => Err(PageError::NotFound),
        }
    }

    /// Checks that the session may access the org. Writes an operator's access to the audit log.
    async fn authorize(&self, request: &PageRequest<'_>, rest: &[&str]) -> Result<(), PageError> {
        let PageRequest { org, session, .. } = request;
        if !session.sees(*org) {
            return Err(PageError::NotFound);
        }
        if session.is_operator() {
            let subject = subject::of(rest, &request.query, &request.form).ok_or(PageError::NotFound)?;
            if !console::record_view(&self.database, *org, &session.claims.holder, &subject).await? {
                return Err(PageError::NotFound);
            }
        }
        Ok(())
    }

    async fn route(&self, request: &PageRequest<'_>, method: &Method, rest: &[&str]) -> PageResult {
        match (method, rest) {
            (&Method::GET, ["live"]) => self.live(request).await,
            (&Method::POST, ["live", "token"]) => self.live_token(request),
            (&Method::GET, ["calls"]) => self.calls(request).await,
            (&Method::GET, ["calls", call]) => self.call(request, call).await,
            (&Method::POST, ["calls", call, "replay"]) => self.replay(request, call).await,
            (&Method::GET, ["calls", call, "recordings", kind]) => self.recording(request, call, kind).await,
            (&Method::GET, ["failures"]) => self.failures(request).await,
            (&Method::GET, ["failures", "one"]) => self.failure(request, &request.query, false).await,
            (&Method::POST, ["failures", "unmask"]) => self.failure(request, &request.form, true).await,
            (&Method::POST, ["failures", "redrive"]) => self.redrive(request).await,
            (&Method::POST, ["failures", "settle"]) => self.settle(request).await,
            (&Method::GET, ["numbers"]) => self.numbers(request).await,
            (&Method::GET, ["drift"]) => self.drift(request).await,
            (&Method::GET, ["audit"]) => self.audit(request).await,
            _ => Err(PageError::NotFound),
        }
    }

    /// Signs in: stores the posted token in a cookie.
    fn start_session(&self, request: &Request) -> PageResult {
        if !is_same_origin(request.headers()) {
            return Err(PageError::CrossOrigin);
        }
        let token = Query::read(request.body()).text("token").unwrap_or_default();
        match self.console_tokens.verify(&token, Timestamp::now()) {
            Ok(claims) => {
                // Without the holder, which is a person's name.
                tracing::info!("signed in");
                Ok(with_cookie(see_other("/console"), &set_cookie(&token, &claims)))
            }
            Err(_) => Ok(sign_in_page(StatusCode::UNAUTHORIZED, true)),
        }
    }

    /// Shows the calls in progress. The page's script then updates them from frames.
    async fn live(&self, request: &PageRequest<'_>) -> PageResult {
        let since = Timestamp::now() - STALE;
        let filter = CallFilter { is_open: Some(true), since: Some(since), ..CallFilter::default() };
        let shown = console::calls(&self.database, request.org, &filter, None, PAGE).await?;
        Ok(request.either(&shown, Section::Live, "Live", || live::show(request.org, &self.live_url, &shown)))
    }

    /// Makes a token with which the live page's script connects to the WebSocket API.
    fn live_token(&self, request: &PageRequest<'_>) -> PageResult {
        let (now, claims) = (Timestamp::now(), &request.session.claims);
        let left = Duration::try_from(claims.expires_at.duration_since(now)).unwrap_or_default();
        let minted = self.live_tokens.mint(request.org, &claims.holder, LIVE_TOKEN.min(left), now);
        let (token, _) = minted.map_err(|_| PageError::Unauthenticated)?;
        Ok(reply::json(&json!({ "token": token })))
    }

    async fn calls(&self, request: &PageRequest<'_>) -> PageResult {
        let filter = calls::filter(&request.query)?;
        let before = request.query.parsed("before")?;
        let shown = console::calls(&self.database, request.org, &filter, before, PAGE).await?;
        Ok(request
            .either(&shown, Section::Calls, "Calls", || calls::list(request.org, &request.query, &filter, &shown)))
    }

    async fn call(&self, request: &PageRequest<'_>, call: &str) -> PageResult {
        let shown = console::call(&self.database, request.org, call).await?.ok_or(PageError::NotFound)?;
        let notice = request.query.text("replayed").map(|_| "The replay of this call's events has started.");
        // The person who started the replay sees its progress.
        let operations = match notice {
            Some(_) => Some(console::operations(&self.database, request.org).await?),
            None => None,
        };
        let title = format!("Call {call}");
        let shown = WithOperations { page: shown, operations };
        Ok(request.either(&shown, Section::Calls, &title, || {
            calls::show(request.org, call, &shown.page, notice, shown.operations.as_deref())
        }))
    }

    async fn replay(&self, request: &PageRequest<'_>, call: &str) -> PageResult {
        console::call(&self.database, request.org, call).await?.ok_or(PageError::NotFound)?;
        let command = ConsoleCommand::Replay { org_id: request.org, call_id: call.to_owned() };
        self.commands.send(&request.session.token, command).await?;
        Ok(see_other(&format!("{}/{call}?replayed=1", Section::Calls.path(request.org))))
    }

    async fn recording(&self, request: &PageRequest<'_>, call: &str, kind: &str) -> PageResult {
        let link = self.link(request.org, &request.session.claims.holder, call, kind).await?;
        Ok(if request.wants_json { reply::json(&link) } else { see_other(&link.url) })
    }

    async fn failures(&self, request: &PageRequest<'_>) -> PageResult {
        let filter = failures::filter(&request.query);
        let before = request.query.parsed::<FailureCursor>("before")?;
        let shown = console::failures(&self.database, request.org, &filter, before.as_ref(), PAGE).await?;
        let notice = request.query.text("redriven");
        let notice = notice.map(|_| "The redrive has started. Reload this page to see its progress.");
        let notice = notice.or_else(|| request.query.text("settled").map(|_| "The tool call is being settled."));
        let operations = Some(console::operations(&self.database, request.org).await?);
        let shown = WithOperations { page: shown, operations };
        Ok(request.either(&shown, Section::Failures, "Failures", || {
            html! {
                (failures::list(request.org, &request.query, &filter, &shown.page, notice))
                (operations::table(shown.operations.as_deref()))
            }
        }))
    }

    async fn failure(&self, request: &PageRequest<'_>, named: &Query, unmask: bool) -> PageResult {
        let event_id = named.text("event_id").ok_or(PageError::NotFound)?;
        let mut shown = console::failure(&self.database, request.org, &event_id).await?.ok_or(PageError::NotFound)?;
        if unmask && shown.event.is_some() {
            shown.event = self.commands.unmask(&request.session.token, request.org, event_id.clone()).await?;
            shown.is_masked = false;
        }
        Ok(request.either(&shown, Section::Failures, "Failure", || failures::show(request.org, &event_id, &shown)))
    }

    async fn redrive(&self, request: &PageRequest<'_>) -> PageResult {
        let form = &request.form;
        // The audit log has the selection, so it accepts ids only.
        let call_id = form.parsed::<VapiCallId>("call_id")?.map(String::from);
        let (code, event_id) = (form.parsed("code")?, form.text("event_id"));
        if event_id.as_deref().is_some_and(|event_id| !subject::is_event_key(event_id)) {
            return Err(PageError::InvalidParameter("event_id"));
        }
        // Without a filter the redrive covers all failures, which the form has to confirm.
        let is_chosen = call_id.is_some() || code.is_some() || event_id.is_some();
        if !is_chosen && form.text("all").is_none() {
            return Err(PageError::InvalidParameter("code"));
        }
        // Failures after the page was rendered are not redriven.
        let before = form.time("before")?.unwrap_or_else(Timestamp::now);
        let command = ConsoleCommand::Redrive { org_id: request.org, call_id, code, event_id, before };
        self.commands.send(&request.session.token, command).await?;
        Ok(see_other(&Query::default().with(&Section::Failures.path(request.org), "redriven", "1")))
    }

    /// Settles an interrupted tool call after a person has found out its outcome.
    async fn settle(&self, request: &PageRequest<'_>) -> PageResult {
        let event_id = request.form.text("event_id").ok_or(PageError::NotFound)?;
        self.commands.send(&request.session.token, ConsoleCommand::Settle { org_id: request.org, event_id }).await?;
        Ok(see_other(&Query::default().with(&Section::Failures.path(request.org), "settled", "1")))
    }

    async fn numbers(&self, request: &PageRequest<'_>) -> PageResult {
        let chosen = numbers::chosen(&request.query, Timestamp::now())?;
        let counted = ringfence_core::numbers::show(
            &self.database,
            request.org,
            chosen.agent,
            chosen.since,
            chosen.until,
            chosen.by,
        );
        let shown = counted.await?;
        Ok(request.either(&shown, Section::Numbers, "Numbers", || {
            numbers::show(request.org, &request.query, &chosen, &shown)
        }))
    }

    async fn drift(&self, request: &PageRequest<'_>) -> PageResult {
        let shown = ringfence_core::drift::show(&self.database, request.org).await?;
        Ok(request.either(&shown, Section::Drift, "Drift", || drift::show(&shown)))
    }

    async fn audit(&self, request: &PageRequest<'_>) -> PageResult {
        let filter = audit::filter(&request.query);
        let before = request.query.parsed("before")?;
        let shown = console::audit(&self.database, request.org, &filter, before, PAGE).await?;
        Ok(request
            .either(&shown, Section::Audit, "Audit", || audit::list(request.org, &request.query, &filter, &shown)))
    }

    fn error_reply(&self, request: &Request, error: PageError) -> Reply {
        let is_page = !wants_json(request.headers());
        let invalid;
        let (status, code, detail) = match error {
            // htmx would insert the sign-in page into the list. The header makes the browser open it instead.
            PageError::Unauthenticated if is_page && request.headers().contains_key("hx-request") => {
                return redirect_script();
            }
            PageError::Unauthenticated if is_page && request.method() == Method::GET => {
                return see_other("/console/sign-in");
            }
            PageError::Unauthenticated => {
                (StatusCode::UNAUTHORIZED, FailureCode::Unauthorised, "a valid token is required")
            }
            PageError::CrossOrigin => {
                (StatusCode::FORBIDDEN, FailureCode::Unauthorised, "the form must be sent from a page of this host")
            }
            PageError::InvalidParameter(name) => {
                invalid = format!("the parameter {name} is missing or invalid");
                (StatusCode::BAD_REQUEST, FailureCode::NotServed, invalid.as_str())
            }
            PageError::NotFound => (StatusCode::NOT_FOUND, FailureCode::NotServed, "not found"),
            PageError::Failed(failure) => {
                tracing::warn!(failure.code = %failure.code, db.sqlstate = failure.sqlstate, "console page failed");
                let status = ringfence_runtime::problem::status_of(failure.code);
                (status, failure.code, "try again later")
            }
        };
        if is_page {
            let session = Session::of(request, &self.console_tokens);
            let title = match status {
                StatusCode::NOT_FOUND => "Not found",
                StatusCode::BAD_REQUEST => "Invalid request",
                _ => code.title(),
            };
            return reply::page(status, bare(title, session.as_ref(), &layout::error(status, detail)));
        }
        problem_with(status, code, detail)
    }
}

impl PageRequest<'_> {
    /// The page, or its data as JSON.
    fn either(&self, shown: &impl Serialize, section: Section, title: &str, content: impl FnOnce() -> Markup) -> Reply {
        either(self.wants_json, shown, || page(title, self.org, section, self.session, &content()))
    }
}

/// The data of a page, with the redrives and replays of the org.
#[derive(Serialize)]
struct WithOperations<T> {
    #[serde(flatten)]
    page: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    operations: Option<Vec<Operation>>,
}

fn either(wants_json: bool, shown: &impl Serialize, page: impl FnOnce() -> Markup) -> Reply {
    if wants_json { reply::json(shown) } else { reply::page(StatusCode::OK, page()) }
}

fn wants_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|it| it.starts_with("application/json"))
}

fn sign_in_page(status: StatusCode, is_invalid: bool) -> Reply {
    reply::page(status, bare("Sign in", None, &sign_in::form(is_invalid)))
}

/// Makes htmx open the sign-in page (<https://htmx.org/headers/hx-redirect/>).
fn redirect_script() -> Reply {
    let mut reply = reply::json(&json!({}));
    *reply.status_mut() = StatusCode::UNAUTHORIZED;
    reply.headers_mut().insert("hx-redirect", HeaderValue::from_static("/console/sign-in"));
    reply
}

fn with_cookie(mut reply: Reply, cookie: &str) -> Reply {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        reply.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    reply
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> String {
    url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}
