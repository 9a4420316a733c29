//! Parses times. Vapi sends epoch milliseconds or ISO 8601 texts; older bodies have one format where the other is
//! documented.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::json;

/// 2015-01-01T00:00:00Z, before Vapi existed. Seconds that are read as milliseconds give a time in 1970 and are
/// rejected.
const EARLIEST_MS: i64 = 1_420_070_400_000;

/// The largest accepted clock difference.
const AHEAD_MS: i64 = 24 * 60 * 60 * 1000;

/// Parses epoch milliseconds, whole or fractional, from JSON text.
pub(crate) fn from_number(json: &str, received_at: Timestamp) -> Option<Timestamp> {
    let ms = json::number(json)?;
    #[expect(clippy::cast_possible_truncation, reason = "fractions are dropped, and what saturates is not plausible")]
    plausible(ms as i64, received_at)
}

/// Parses an ISO 8601 text. Without an offset, it is in UTC.
pub(crate) fn from_text(text: &str, received_at: Timestamp) -> Option<Timestamp> {
    let time = text.parse::<Timestamp>().ok().or_else(|| in_utc(text))?;
    plausible(time.as_millisecond(), received_at)
}

fn in_utc(text: &str) -> Option<Timestamp> {
    let time: DateTime = text.parse().ok()?;
    Offset::UTC.to_timestamp(time).ok()
}

fn plausible(ms: i64, received_at: Timestamp) -> Option<Timestamp> {
    let latest_ms = received_at.as_millisecond() + AHEAD_MS;
    if (EARLIEST_MS..=latest_ms).contains(&ms) { Timestamp::from_millisecond(ms).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received_at() -> Timestamp {
        "2026-09-14T15:02:40Z".parse().unwrap()
    }

    fn number(json: &str) -> Option<String> {
        from_number(json, received_at()).map(|time| time.to_string())
    }

    fn text(text: &str) -> Option<String> {
        from_text(text, received_at()).map(|time| time.to_string())
    }

    #[test]
    fn numbers_are_milliseconds_cut_to_whole_ones() {
        let expected = Some("2026-09-14T15:02:36.38Z".to_owned());
        for json in ["1789398156380", "1789398156380.0", "1789398156380.99", "1.78939815638e12"] {
            assert_eq!(number(json), expected, "{json}");
        }
    }

    #[test]
    fn texts_are_iso_8601_with_or_without_an_offset() {
        let expected = Some("2026-09-14T15:02:36.38Z".to_owned());
        for iso in [
            "2026-09-14T15:02:36.380Z",
            "2026-09-14T17:02:36.3809+02:00",
            "2026-09-14T15:02:36.380",
            "2026-09-14 15:02:36.380Z",
        ] {
            assert_eq!(text(iso), expected, "{iso}");
        }
        assert_eq!(text("yesterday"), None);
    }

    #[test]
    fn a_time_outside_2015_to_receipt_and_a_day_is_unknown() {
        assert!(text("2015-01-01T00:00:00Z").is_some());
        assert_eq!(text("2014-12-31T23:59:59.999Z"), None);
        assert!(text("2026-09-15T15:02:40Z").is_some());
        assert_eq!(text("2026-09-15T15:02:40.001Z"), None);
        for json in ["1789398156", "-1", "1e300", "1e999", "true"] {
            assert_eq!(number(json), None, "{json}");
        }
    }
}
