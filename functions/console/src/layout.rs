//! The frame of all pages, and the formats of values.

use jiff::Timestamp;
use lambda_http::http::StatusCode;
use maud::{DOCTYPE, Markup, html};
use ringfence_vapi::{FailureCode, OrgId};
use strum::{EnumIter, EnumString, IntoEnumIterator as _, IntoStaticStr};

use crate::assets::{HTMX, VERSION};
use crate::session::Session;

/// The sections of an org in the navigation.
#[derive(Clone, Copy, EnumIter, EnumString, IntoStaticStr, PartialEq, Eq)]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub(crate) enum Section {
    Live,
    Calls,
    Failures,
    Numbers,
    Drift,
    Audit,
}

impl Section {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Live => "Live",
            Self::Calls => "Calls",
            Self::Failures => "Failures",
            Self::Numbers => "Numbers",
            Self::Drift => "Drift",
            Self::Audit => "Audit",
        }
    }

    pub(crate) const fn segment(self) -> &'static str {
        self.into_str()
    }

    pub(crate) fn path(self, org: OrgId) -> String {
        format!("/console/{org}/{}", self.segment())
    }
}

/// The address of a file in `assets`.
pub(crate) fn asset(name: &str) -> String {
    format!("/console/assets/{}/{name}", *VERSION)
}

/// A page that belongs to no org.
pub(crate) fn bare(title: &str, session: Option<&Session>, content: &Markup) -> Markup {
    document(title, &html! { (sign_out(session)) }, content)
}

/// A page of an org.
pub(crate) fn page(title: &str, org: OrgId, section: Section, session: &Session, content: &Markup) -> Markup {
    let navigation = html! {
        nav aria-label="Pages" {
            @if session.is_operator() { a href="/console/orgs" { "Orgs" } }
            @for each in Section::iter() {
                a href=(each.path(org)) aria-current=[(each == section).then_some("page")] { (each.name()) }
            }
        }
        (sign_out(Some(session)))
    };
    document(title, &navigation, content)
}

/// The content of a page that reports an error.
pub(crate) fn error(status: StatusCode, detail: &str) -> Markup {
    html! {
        @if status == StatusCode::NOT_FOUND { p { "This page does not exist, or you have no access to it." } } @else { p { (detail) } }
        p { a href="/console" { "Go to the start page" } }
    }
}

fn sign_out(session: Option<&Session>) -> Markup {
    html! {
        @if let Some(session) = session {
            form method="post" action="/console/sign-out" {
                span.note { (session.claims.holder) } " " button { "Sign out" }
            }
        }
    }
}

fn document(title: &str, navigation: &Markup, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // The Content-Security-Policy forbids inline styles and eval, so htmx must not use them.
                meta name="htmx-config" content=r#"{"includeIndicatorStyles":false,"allowEval":false,"selfRequestsOnly":true}"#;
                title { (title) " · Ringfence" }
                link rel="stylesheet" href=(asset("console.css"));
                link rel="icon" href="data:,";
                script src=(asset("tables.js")) defer {}
                script src=(asset(HTMX)) defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header { strong { "Ringfence" } (navigation) }
                main #main { h1 { (title) } (content) }
            }
        }
    }
}

/// A time in UTC, to the second.
pub(crate) fn time(at: Timestamp) -> Markup {
    let shown = at.strftime("%Y-%m-%d %H:%M:%S").to_string();
    html! { time datetime=(at) title="UTC" { (shown) } }
}

/// `minutes:seconds`.
pub(crate) fn duration(seconds: i64) -> String {
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// A failure code and its title, with a link to its page of the runbook.
pub(crate) fn code(code: FailureCode) -> Markup {
    html! { a href={ "/console/codes/" (code) } { (code) } " " (code.title()) }
}

/// A state or status, in a colour.
pub(crate) fn tag(state: &str) -> Markup {
    let class = match state {
        "completed" | "stored" | "resolved" | "applied" | "done" => "tag good",
        "dead" | "failed" => "tag bad",
        "retrying" | "redriven" | "pending" | "in-progress" | "ringing" | "forwarding" | "running" => "tag wait",
        _ => "tag",
    };
    html! { span class=(class) { (state) } }
}

/// The link to the next page of a list. With scripts, htmx replaces the link with the next rows.
pub(crate) fn more(next: Option<&str>) -> Markup {
    html! {
        @if let Some(next) = next {
            p #more { a href=(next) hx-get=(next) hx-select="#list > *" hx-target="#more" hx-swap="outerHTML" { "More" } }
        }
    }
}
