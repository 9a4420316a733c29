//! People look at calls and failures here instead of in psql: pages, the same as JSON, and the playback of recordings.
//!
//! Every address of an org has its id in it, and is looked at by that org's own people, or by an operator, which is audited before it
//! is shown. What is not somebody's does not exist for him: 404, as for what never was.

mod assets;
mod calls;
mod codes;
mod commands;
mod failures;
mod layout;
mod numbers;
mod others;
mod playback;
mod query;
mod reply;
mod session;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lambda_http::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use lambda_http::{Body, Request, RequestExt as _};
use maud::Markup;
use ringfence_aws::Bucket;
use ringfence_core::Database;
use ringfence_core::console::{self, CallFilter, FailureCursor};
use ringfence_core::error::Failure;
use ringfence_identity::{Audience, Scope, Tokens};
use ringfence_protocol::admin::Selection;
use ringfence_runtime::catch_panics;
use ringfence_runtime::problem::problem_with;
use ringfence_vapi::{FailureCode, OrgId};
use serde::Serialize;
use serde_json::json;

pub use commands::Commands;

use crate::layout::{Section, bare, page};
use crate::query::{Query, Unreadable};
use crate::reply::{Policy, Reply, see_other};
use crate::session::{Session, clear_cookie, is_same_origin, set_cookie};

/// Rows of a list at a time.
const PAGE: i32 = 50;
/// A call that began earlier and is not over is not live, but without its end.
const STALE: SignedDuration = SignedDuration::from_hours(6);
/// The audit log keeps as many characters of what was looked at.
const LONGEST_SUBJECT: usize = 200;
/// A live connection is signed in anew before this is over.
const LIVE_TOKEN: Duration = Duration::from_mins(15);

/// What answers people's screens.
pub struct Console {
    /// Who may ask.
    pub tokens: Tokens,
    /// What is asked.
    pub database: Arc<Database>,
    /// Where recordings are.
    pub bucket: Bucket,
    /// What people do.
    pub commands: Commands,
    /// The WebSocket API's URL.
    pub live_url: String,
}

/// Why there is no answer of the usual kind.
enum Miss {
    /// There is nothing here, or it is somebody else's.
    Nothing,
    /// Nobody is signed in.
    Nobody,
    /// A page of another host sent it.
    Foreign,
    /// A value that cannot be read, or is missing. Names it.
    Unreadable(&'static str),
    /// The database, S3 or Lambda failed.
    Failed(Failure),
}

impl From<Failure> for Miss {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<FailureCode> for Miss {
    fn from(code: FailureCode) -> Self {
        Self::Failed(code.into())
    }
}

impl From<Unreadable> for Miss {
    fn from(Unreadable(name): Unreadable) -> Self {
        Self::Unreadable(name)
    }
}

type Answer = Result<Reply, Miss>;

/// A request to a page of an org by somebody who may see it.
struct Visit<'a> {
    org: OrgId,
    session: &'a Session,
    query: Query,
    form: Query,
    wants_json: bool,
}

impl Console {
    /// Answers one request.
    pub async fn answer(&self, request: Request) -> Response<Body> {
        let path = request.raw_http_path().to_owned();
        let mut reply = if path.starts_with("/api/") {
            self.play(&request).await
        } else {
            let answer = catch_panics(async { Ok(self.page(&request, &path).await) }).await;
            answer.unwrap_or_else(|failure| Err(failure.into())).unwrap_or_else(|miss| self.miss(&request, miss))
        };
        // The WebSocket API's host; where recordings are played from, S3's, differs by region and bucket.
        let media = self.bucket.origin().await.unwrap_or_default();
        Policy { media, live: origin(&self.live_url) }.apply(&mut reply);
        ringfence_runtime::sentry::flush().await;
        reply
    }

    async fn page(&self, request: &Request, path: &str) -> Answer {
        let segments: Vec<&str> = path.trim_matches('/').split('/').skip(1).collect();
        match (request.method(), segments.as_slice()) {
            (&Method::GET, ["assets", _, name]) => return assets::find(name).ok_or(Miss::Nothing),
            (&Method::GET, ["sign-in"]) => return Ok(sign_in(StatusCode::OK, false)),
            (&Method::POST, ["session"]) => return self.begin(request),
            _ => {}
        }
        let session = Session::of(request, &self.tokens).ok_or(Miss::Nobody)?;
        if request.method() != Method::GET && session.by_cookie && !is_same_origin(request.headers()) {
            return Err(Miss::Foreign);
        }
        match (request.method(), segments.as_slice()) {
            (&Method::GET, []) => Ok(see_other(&match session.claims.scope {
                Scope::Org(org) => Section::Live.path(org),
                Scope::Operator => "/console/orgs".to_owned(),
            })),
            (&Method::POST, ["sign-out"]) => Ok(with_cookie(see_other("/console/sign-in"), &clear_cookie())),
            (&Method::GET, ["codes", code]) => {
                let text = codes::find(code).ok_or(Miss::Nothing)?;
                let title = text.lines().next().unwrap_or_default().trim_start_matches("# ");
                Ok(reply::page(StatusCode::OK, bare(title, Some(&session), &others::runbook(text))))
            }
            (&Method::GET, ["orgs"]) if session.is_operator() => {
                let shown = console::organizations(&self.database, &session.claims.holder).await?;
                let page = || bare("Orgs", Some(&session), &others::organizations(&shown));
                Ok(either(wants_json(request.headers()), &shown, page))
            }
            (method, [org, rest @ ..]) => {
                let org = org.parse().map_err(|_| Miss::Nothing)?;
                let visit = Visit {
                    org,
                    session: &session,
                    query: Query::read(request.uri().query().unwrap_or_default().as_bytes()),
                    form: Query::read(request.body()),
                    wants_json: wants_json(request.headers()),
                };
                self.enter(&visit, rest).await?;
                self.of_org(&visit, method, rest).await
            }
            _ => Err(Miss::Nothing),
        }
    }

    /// Whether somebody may see an org. That an operator looks is noted before he sees.
    async fn enter(&self, visit: &Visit<'_>, rest: &[&str]) -> Result<(), Miss> {
        let Visit { org, session, .. } = visit;
        if !session.sees(*org) {
            return Err(Miss::Nothing);
        }
        if session.is_operator() {
            let subject = visit.subject(rest).ok_or(Miss::Nothing)?;
            if !console::note_view(&self.database, *org, &session.claims.holder, &subject).await? {
                return Err(Miss::Nothing);
            }
        }
        Ok(())
    }

    async fn of_org(&self, visit: &Visit<'_>, method: &Method, rest: &[&str]) -> Answer {
        match (method, rest) {
            (&Method::GET, ["live"]) => self.live(visit).await,
            (&Method::POST, ["live", "token"]) => self.live_token(visit),
            (&Method::GET, ["calls"]) => self.calls(visit).await,
            (&Method::GET, ["calls", call]) => self.call(visit, call).await,
            (&Method::POST, ["calls", call, "replay"]) => self.replay(visit, call).await,
            (&Method::GET, ["calls", call, "recordings", kind]) => self.recording(visit, call, kind).await,
            (&Method::GET, ["failures"]) => self.failures(visit).await,
            (&Method::GET, ["failures", "one"]) => self.failure(visit, &visit.query, None).await,
            (&Method::POST, ["failures", "unmask"]) => {
                self.failure(visit, &visit.form, Some(&visit.session.claims.holder)).await
            }
            (&Method::POST, ["failures", "redrive"]) => self.redrive(visit).await,
            (&Method::POST, ["failures", "settle"]) => self.settle(visit).await,
            (&Method::GET, ["numbers"]) => self.numbers(visit).await,
            (&Method::GET, ["audit"]) => self.audit(visit).await,
            _ => Err(Miss::Nothing),
        }
    }

    /// Signs in: the token becomes a cookie.
    fn begin(&self, request: &Request) -> Answer {
        if !is_same_origin(request.headers()) {
            return Err(Miss::Foreign);
        }
        let token = Query::read(request.body()).text("token").unwrap_or_default();
        match self.tokens.verify(Audience::Console, &token, Timestamp::now()) {
            Ok(claims) => {
                tracing::info!(token.holder = claims.holder, "signed in");
                Ok(with_cookie(see_other("/console"), &set_cookie(&token, &claims)))
            }
            Err(_) => Ok(sign_in(StatusCode::UNAUTHORIZED, true)),
        }
    }

    /// The calls that are not over; from there on the page's script is told of them.
    async fn live(&self, visit: &Visit<'_>) -> Answer {
        let since = Timestamp::now() - STALE;
        let filter = CallFilter { is_open: Some(true), since: Some(since), ..CallFilter::default() };
        let shown = console::calls(&self.database, visit.org, &filter, None, PAGE).await?;
        Ok(visit.either(&shown, Section::Live, "Live", || others::live(visit.org, &self.live_url, &shown)))
    }

    /// What a page's script connects to the WebSocket API with; it ends with the session, if that is sooner.
    fn live_token(&self, visit: &Visit<'_>) -> Answer {
        let (now, claims) = (Timestamp::now(), &visit.session.claims);
        let left = Duration::try_from(claims.expires_at.duration_since(now)).unwrap_or_default();
        let minted = self.tokens.mint(Audience::Live, Scope::Org(visit.org), &claims.holder, LIVE_TOKEN.min(left), now);
        let (token, _) = minted.map_err(|_| Miss::Nobody)?;
        Ok(reply::json(&json!({ "token": token })))
    }

    async fn calls(&self, visit: &Visit<'_>) -> Answer {
        let filter = calls::filter(&visit.query)?;
        let before = visit.query.parsed("before")?;
        let shown = console::calls(&self.database, visit.org, &filter, before, PAGE).await?;
        Ok(visit.either(&shown, Section::Calls, "Calls", || calls::list(visit.org, &visit.query, &filter, &shown)))
    }

    async fn call(&self, visit: &Visit<'_>, call: &str) -> Answer {
        let shown = console::call(&self.database, visit.org, call).await?.ok_or(Miss::Nothing)?;
        let notice = visit.query.text("replayed").map(|_| "Its events are being replayed.");
        let title = format!("Call {call}");
        Ok(visit.either(&shown, Section::Calls, &title, || calls::show(visit.org, call, &shown, notice)))
    }

    async fn replay(&self, visit: &Visit<'_>, call: &str) -> Answer {
        console::call(&self.database, visit.org, call).await?.ok_or(Miss::Nothing)?;
        let selection = Selection { org_id: Some(visit.org), call_id: Some(call.to_owned()), ..Selection::default() };
        self.commands.replay(&visit.session.claims.holder, selection).await?;
        Ok(see_other(&format!("{}/{call}?replayed=1", Section::Calls.path(visit.org))))
    }

    async fn recording(&self, visit: &Visit<'_>, call: &str, kind: &str) -> Answer {
        let link = self.link(visit.org, &visit.session.claims.holder, call, kind).await?;
        Ok(if visit.wants_json { reply::json(&link) } else { see_other(&link.url) })
    }

    async fn failures(&self, visit: &Visit<'_>) -> Answer {
        let filter = failures::filter(&visit.query);
        let before = visit.query.parsed::<FailureCursor>("before")?;
        let shown = console::failures(&self.database, visit.org, &filter, before.as_ref(), PAGE).await?;
        let notice = visit.query.text("redriven");
        let notice =
            notice.map(|_| "It is ordered. Look again in a moment; the audit log says what it brought.".to_owned());
        let notice = notice.or_else(|| visit.query.text("settled").map(|_| "It is being settled.".to_owned()));
        Ok(visit.either(&shown, Section::Failures, "Failures", || {
            failures::list(visit.org, &visit.query, &filter, &shown, notice.as_deref())
        }))
    }

    async fn failure(&self, visit: &Visit<'_>, named: &Query, unmasked_for: Option<&str>) -> Answer {
        let event_id = named.text("event_id").ok_or(Miss::Nothing)?;
        let shown = console::failure(&self.database, visit.org, &event_id, unmasked_for).await?.ok_or(Miss::Nothing)?;
        Ok(visit.either(&shown, Section::Failures, "A failure", || failures::show(visit.org, &event_id, &shown)))
    }

    async fn redrive(&self, visit: &Visit<'_>) -> Answer {
        let form = &visit.form;
        let selection = Selection {
            org_id: Some(visit.org),
            call_id: form.text("call_id"),
            code: form.parsed("code")?,
            event_id: form.text("event_id"),
            ..Selection::default()
        };
        // Nothing chosen is all of them, which has to be said.
        let is_chosen = selection.call_id.is_some() || selection.code.is_some() || selection.event_id.is_some();
        if !is_chosen && form.text("all").is_none() {
            return Err(Miss::Unreadable("code"));
        }
        // What fails after the page was made is not what was looked at.
        let before = form.time("before")?.unwrap_or_else(Timestamp::now);
        self.commands.redrive(&visit.session.claims.holder, selection, before).await?;
        Ok(see_other(&Query::default().with(&Section::Failures.path(visit.org), "redriven", "1")))
    }

    /// A tool call whose fate people have found out.
    async fn settle(&self, visit: &Visit<'_>) -> Answer {
        let event_id = visit.form.text("event_id").ok_or(Miss::Nothing)?;
        self.commands.settle(&visit.session.claims.holder, visit.org, event_id).await?;
        Ok(see_other(&Query::default().with(&Section::Failures.path(visit.org), "settled", "1")))
    }

    async fn numbers(&self, visit: &Visit<'_>) -> Answer {
        let chosen = numbers::chosen(&visit.query, Timestamp::now())?;
        let counted = ringfence_core::numbers::show(
            &self.database,
            visit.org,
            chosen.agent,
            chosen.since,
            chosen.until,
            chosen.by,
        );
        let shown = counted.await?;
        Ok(visit
            .either(&shown, Section::Numbers, "Numbers", || numbers::show(visit.org, &visit.query, &chosen, &shown)))
    }

    async fn audit(&self, visit: &Visit<'_>) -> Answer {
        let filter = others::audit_filter(&visit.query);
        let before = visit.query.parsed("before")?;
        let shown = console::audit(&self.database, visit.org, &filter, before, PAGE).await?;
        Ok(visit.either(&shown, Section::Audit, "Audit", || others::audit(visit.org, &visit.query, &filter, &shown)))
    }

    fn miss(&self, request: &Request, miss: Miss) -> Reply {
        let is_page = !wants_json(request.headers());
        let unreadable;
        let (status, code, detail) = match miss {
            // A part of a page is not replaced by the way in: the browser goes there.
            Miss::Nobody if is_page && request.headers().contains_key("hx-request") => return leave(),
            Miss::Nobody if is_page && request.method() == Method::GET => return see_other("/console/sign-in"),
            Miss::Nobody => (StatusCode::UNAUTHORIZED, FailureCode::Unauthorised, "a valid token is needed"),
            Miss::Foreign => {
                (StatusCode::FORBIDDEN, FailureCode::Unauthorised, "this must be sent from a page of this host")
            }
            Miss::Unreadable(name) => {
                unreadable = format!("{name} is missing or cannot be read");
                (StatusCode::BAD_REQUEST, FailureCode::NotServed, unreadable.as_str())
            }
            Miss::Nothing => (StatusCode::NOT_FOUND, FailureCode::NotServed, "there is nothing here"),
            Miss::Failed(failure) => {
                tracing::warn!(failure.code = %failure.code, db.sqlstate = failure.sqlstate, "a screen was not served");
                let status = ringfence_runtime::problem::status_of(failure.code);
                (status, failure.code, "try again in a moment")
            }
        };
        if is_page {
            let session = Session::of(request, &self.tokens);
            let title = match status {
                StatusCode::NOT_FOUND => "Nothing here",
                StatusCode::BAD_REQUEST => "That cannot be read",
                _ => code.title(),
            };
            return reply::page(status, bare(title, session.as_ref(), &others::missing(status, detail)));
        }
        problem_with(status, code, detail)
    }
}

impl Visit<'_> {
    /// What is about to be looked at, as the audit log names it: never what somebody searches for, which may be a number.
    fn subject(&self, rest: &[&str]) -> Option<String> {
        let [section, more @ ..] = rest else { return None };
        let section = section.parse::<Section>().ok()?.segment();
        let event = self.query.text("event_id").or_else(|| self.form.text("event_id"));
        let mut subject = match (section, more, event) {
            ("calls", [call, ..], _) => format!("calls/{call}"),
            ("failures", [_, ..], Some(event)) => format!("failures/{event}"),
            _ => section.to_owned(),
        };
        let names: Vec<&str> = self.query.names().filter(|name| *name != "event_id").collect();
        if more.is_empty() && !names.is_empty() {
            subject = format!("{subject} by {}", names.join(", "));
        }
        Some(subject.chars().take(LONGEST_SUBJECT).collect())
    }

    /// A page, or what it shows as JSON.
    fn either(&self, shown: &impl Serialize, section: Section, title: &str, content: impl FnOnce() -> Markup) -> Reply {
        either(self.wants_json, shown, || page(title, self.org, section, self.session, &content()))
    }
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

fn sign_in(status: StatusCode, is_wrong: bool) -> Reply {
    reply::page(status, bare("Sign in", None, &others::sign_in(is_wrong)))
}

/// Sends a page's script to the way in (<https://htmx.org/headers/hx-redirect/>).
fn leave() -> Reply {
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
