//! Authentication by a signed token: a bearer token of programs, or a cookie of browsers.

use jiff::Timestamp;
use lambda_http::Request;
use lambda_http::http::{HeaderMap, header};
use ringfence_identity::{Audience, Claims, Scope, Tokens};
use ringfence_protocol::admin::Secret;
use ringfence_vapi::OrgId;

/// The prefix `__Host-` restricts the cookie to this host and to TLS.
const COOKIE: &str = "__Host-ringfence";

/// A person or program with a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) claims: Claims,
    /// Sent with each command, so that `console-commands` verifies the person itself.
    pub(crate) token: Secret,
    /// Whether the token came in a cookie, which browsers may also send with requests of other sites.
    pub(crate) by_cookie: bool,
}

impl Session {
    /// The session of a request, if it has a valid token.
    pub(crate) fn of(request: &Request, tokens: &Tokens) -> Option<Self> {
        let headers = request.headers();
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let (token, by_cookie) = match bearer {
            Some(token) => (token.to_owned(), false),
            None => (cookie(headers)?, true),
        };
        let claims = tokens.verify(Audience::Console, &token, Timestamp::now()).ok()?;
        Some(Self { claims, token: token.into(), by_cookie })
    }

    /// Whether the session may access an org.
    pub(crate) fn sees(&self, org: OrgId) -> bool {
        match self.claims.scope {
            Scope::Org(own) => own == org,
            Scope::Operator => true,
        }
    }

    pub(crate) fn is_operator(&self) -> bool {
        self.claims.scope == Scope::Operator
    }
}

/// Whether a form was sent from a page of this host, by the `Origin` header that browsers add to a POST.
pub(crate) fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(header::ORIGIN).and_then(|origin| Some(origin.split_once("://")?.1));
    origin.is_some() && origin == text(header::HOST)
}

/// The `Set-Cookie` value that stores a token until it expires.
pub(crate) fn set_cookie(token: &str, claims: &Claims) -> String {
    let seconds = claims.expires_at.as_second() - Timestamp::now().as_second();
    format!("{COOKIE}={token}; Path=/; Max-Age={}; Secure; HttpOnly; SameSite=Strict", seconds.max(0))
}

/// The `Set-Cookie` value that removes the token.
pub(crate) fn clear_cookie() -> String {
    format!("{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict")
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|cookies| cookies.split(';'))
        .find_map(|cookie| Some(cookie.trim().strip_prefix(COOKIE)?.strip_prefix('=')?.to_owned()))
}
