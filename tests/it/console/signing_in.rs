//! Sign-in to the console.

use std::time::Duration;

use lambda_http::http::{Method, StatusCode};
use ringfence_identity::Scope;

use super::{Site, of, token_for};

/// B9, D5: a token becomes a cookie that scripts cannot read and other sites cannot send, until it expires.
#[tokio::test]
async fn a_token_becomes_a_cookie() {
    let site = Site::open().await;
    let form = format!("token={}", of(site.acme));
    let origin = [("origin", "https://ringfence.example")];
    let reply = site.send(Method::POST, "/console/session", &origin, &form).await;
    assert_eq!((reply.status, reply.headers["location"].to_str().unwrap()), (StatusCode::SEE_OTHER, "/console"));
    let cookie = reply.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-ringfence="), "{cookie}");
    for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(cookie.split("; ").any(|part| part == attribute), "{attribute} in {cookie}");
    }
    let seconds = cookie.split("Max-Age=").nth(1).unwrap().split(';').next().unwrap().parse::<u32>().unwrap();
    assert!((1..=300).contains(&seconds), "{seconds}");

    let begin = site.get(&of(site.acme), "/console").await;
    assert_eq!(begin.headers["location"].to_str().unwrap(), format!("/console/{}/live", site.acme));
    let gone = site.post(&of(site.acme), "/console/sign-out", "").await;
    assert!(gone.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
}

/// D5: without a console token, no page is shown; a token for another purpose does not help. Browsers are redirected to
/// the sign-in page.
#[tokio::test]
async fn without_a_token_of_the_console_there_is_only_the_way_in() {
    let site = Site::open().await;
    let live_tokens = ringfence_harness::testing::webhook::keys().live_tokens().unwrap();
    let (live, _) = live_tokens.mint(site.acme, "ada", Duration::from_mins(5), jiff::Timestamp::now()).unwrap();
    let over = token_for(Scope::Org(site.acme), Duration::ZERO);
    for token in ["", "a.b.c", &live, &over] {
        let path = format!("/console/{}/calls", site.acme);
        let page = site.get(token, &path).await;
        assert_eq!(
            (page.status, page.headers["location"].to_str().unwrap()),
            (StatusCode::SEE_OTHER, "/console/sign-in")
        );
        assert_eq!(site.json(token, &path).await.0, StatusCode::UNAUTHORIZED);
        let origin = [("origin", "https://ringfence.example")];
        let refused = site.send(Method::POST, "/console/session", &origin, &format!("token={token}")).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        assert!(!refused.headers.contains_key("set-cookie"));
    }
    // The response for a part of a page does not insert the sign-in page into a list.
    let part = site.send(Method::GET, &format!("/console/{}/calls", site.acme), &[("hx-request", "true")], "").await;
    assert_eq!(
        (part.status, &part.headers["hx-redirect"]),
        (StatusCode::UNAUTHORIZED, &"/console/sign-in".parse().unwrap())
    );
    let way_in = site.get("", "/console/sign-in").await;
    assert!(way_in.status == StatusCode::OK && way_in.text.contains("<form"));
}

/// A request with the cookie that changes data is accepted only from the console's own pages.
#[tokio::test]
async fn a_form_of_another_site_does_nothing() {
    let site = Site::open().await;
    let (token, path) = (of(site.acme), format!("/console/{}/failures/redrive", site.acme));
    let cookie = format!("__Host-ringfence={token}");
    for origin in [None, Some("https://evil.example"), Some("null"), Some("https://ringfence.example.evil.example")] {
        let mut headers = vec![("cookie", cookie.as_str())];
        headers.extend(origin.map(|origin| ("origin", origin)));
        let reply = site.send(Method::POST, &path, &headers, "code=RF2001").await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{origin:?}");
        let begun = site.send(Method::POST, "/console/session", &headers, &format!("token={token}")).await;
        assert_eq!(begun.status, StatusCode::FORBIDDEN, "{origin:?}");
    }
    assert!(site.lambda.invoked().is_empty());
    // A program with a bearer token is not a browser, so the check does not apply.
    let bearer = format!("Bearer {token}");
    let reply = site.send(Method::POST, &path, &[("authorization", &bearer)], "code=RF2001").await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
}

/// Every response has a content security policy without inline code and styles, frames and other hosts.
#[tokio::test]
async fn every_answer_has_its_policy() {
    let site = Site::open().await;
    let token = of(site.acme);
    for path in ["/console/sign-in", "/console/nothing", &format!("/console/{}/calls", site.acme), "/api/nothing"] {
        let reply = site.get(&token, path).await;
        let policy = reply.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
        assert!(
            policy.contains("frame-ancestors 'none'") && policy.contains("connect-src 'self' wss://live.example;"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(reply.headers["cache-control"], "no-store", "{path}");
        for inline in ["<style", "style=\"", "onclick", "javascript:"] {
            assert!(!reply.text.contains(inline), "{inline} in {path}");
        }
    }
    let page = site.get(&token, "/console/sign-in").await;
    let script = page.text.split("<script src=\"").nth(1).unwrap().split('"').next().unwrap();
    let script = site.get("", script).await;
    assert_eq!(script.headers["cache-control"], "public, max-age=31536000, immutable");
}
