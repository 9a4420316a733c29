//! CPU time of a webhook in the webhook function without the database: verification, parsing, key, parameter of the
//! statement, and answer.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use ringfence_identity::{Authenticator, Raw, Ring};
use ringfence_runtime::problem::answer;
use ringfence_vapi::{Message, parse};
use serde_json::{Value, json};

use super::Length;
use super::events::{Kind, marked_body};
use super::site::Site;
use super::table::{Limit, Report, Table, median, number};
use ringfence_harness::error::{Context, Error, Result};
use ringfence_simulate::signing::Mechanism;

/// Small webhooks are measured in groups, so that the cost of reading the clock is negligible.
const GROUP: u32 = 10;

/// Measures each body with a key in a header and with a signature, which costs more.
pub(super) fn measure(site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
    let count = if length == Length::Full { 200 } else { 3 };
    let mut table =
        Table::new("A webhook's CPU without the database", &["body", "bytes", "key in a header, us", "signed, us"]);
    let kinds = [Kind::CallStarted, Kind::Report, Kind::LargeReport];
    let samples = kinds.into_iter().map(|kind| Ok((kind.name(), marked_body(site, kind)?)));
    for (name, body) in std::iter::once(small_body(site)).chain(samples).collect::<Result<Vec<_>>>()? {
        let time = |mechanism| -> Result<f64> {
            let times: Vec<Duration> = (0..count).map(|_| group(site, mechanism, &body)).collect::<Result<_>>()?;
            Ok(median(times.iter().map(|time| time.as_secs_f64() * 1e6 / f64::from(GROUP))))
        };
        let (plain, signed) = (time(Mechanism::Secret)?, time(Mechanism::Signature)?);
        table.row([name.to_owned(), body.len().to_string(), number(plain), number(signed)]);
        if name == Kind::LargeReport.name() {
            report.goal("report, 1 MB: CPU without the database, ms", signed / 1_000.0, Limit::AtMost(5.0));
        }
    }
    report.add(table);
    Ok(())
}

/// The smallest stored message, with an ignored field that makes it 2 KB.
fn small_body(site: &Site<'_>) -> Result<(&'static str, String)> {
    const BYTES: usize = 2_048;
    let path = site.layout.root().join("tests/samples/call.deleted.json");
    let text = std::fs::read_to_string(&path).context(format_args!("read {}", path.display()))?;
    let mut body: Value = serde_json::from_str(&text).context("read a sample")?;
    body["message"]["rest"] = Value::String(String::new());
    let rest = BYTES.saturating_sub(body.to_string().len());
    body["message"]["rest"] = Value::String("r".repeat(rest));
    Ok(("call.deleted, 2 KB", body.to_string()))
}

fn group(site: &Site<'_>, mechanism: Mechanism, body: &str) -> Result<Duration> {
    let now = Timestamp::now();
    let mut headers = HeaderMap::new();
    for (name, value) in mechanism.headers(&site.key, body.as_bytes(), now) {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value).context("write a header")?);
    }
    let keys = site.secrets.master_keys()?.key_ring(Ring::Webhook.purposes()).context("derive the keys")?;
    let authenticator = Authenticator::new(keys.org_key_verifier().context("verify org keys")?, false);
    let org = site.org.to_string();
    let raw =
        Raw { org: Some(&org), headers: &headers, key_version: Some("1"), body: body.as_bytes(), received_at: now };
    let began = Instant::now();
    for _ in 0..GROUP {
        std::hint::black_box(webhook(&authenticator, &raw)?);
    }
    Ok(began.elapsed())
}

/// Work of the webhook function around the statement.
fn webhook(authenticator: &Authenticator, raw: &Raw<'_, '_>) -> Result<usize> {
    let verified = authenticator.verify(raw).context("verify a webhook")?;
    let parsed = parse(verified.body(), verified.received_at()).context("parse a webhook")?;
    let Message::Stored(stored) = parsed.message else { return Err(Error::new("a sample is not a stored event")) };
    let parameter = serde_json::to_vec(&stored.event).context("write an event")?;
    let response = answer(StatusCode::OK, &json!({}));
    Ok(parameter.len() + stored.key.as_str().len() + usize::from(response.status().as_u16()))
}
