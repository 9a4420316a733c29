//! The sign-in page.

use maud::{Markup, html};

use crate::layout::asset;

pub(crate) fn form(is_invalid: bool) -> Markup {
    html! {
        @if is_invalid { p.notice role="alert" { "The token is invalid or has expired." } }
        form.filter method="post" action="/console/session" {
            label { "Token" input name="token" type="password" autocomplete="off" required; }
            button.primary { "Sign in" }
        }
        p.note { "The command " code { "cargo ringfence console" } " prints a sign-in link." }
        script type="module" src=(asset("sign-in.js")) {}
    }
}
