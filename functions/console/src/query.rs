//! Parameters of a query string or a form.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Decoded names and values. An empty value is absent, because forms send all their fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(BTreeMap<String, String>);

/// The parameter of this name is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidParameter(pub(crate) &'static str);

impl Query {
    /// Parses `application/x-www-form-urlencoded`.
    pub(crate) fn read(encoded: &[u8]) -> Self {
        // PostgreSQL cannot store U+0000 in text.
        let pairs = form_urlencoded::parse(encoded).filter(|(_, value)| !value.is_empty() && !value.contains('\0'));
        Self(pairs.map(|(name, value)| (name.into_owned(), value.trim().to_owned())).collect())
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// Parses a value. An invalid value is an error, because a page without the filter would mislead.
    pub(crate) fn parsed<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, InvalidParameter> {
        self.0.get(name).map(|value| value.parse().map_err(|_| InvalidParameter(name))).transpose()
    }

    /// Parses an RFC 3339 time, or a date, which means midnight (UTC). A time before 1970 is invalid: no row is older, and
    /// PostgreSQL does not read every year that `Timestamp` can have.
    pub(crate) fn time(&self, name: &'static str) -> Result<Option<Timestamp>, InvalidParameter> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        let day = || Some(text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
        let time: Option<Timestamp> = text.parse().ok().or_else(day);
        time.filter(|time| *time >= Timestamp::UNIX_EPOCH).map(Some).ok_or(InvalidParameter(name))
    }

    /// The names of all parameters.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The address with these parameters, where `name` has `value`.
    pub(crate) fn with(&self, path: &str, name: &str, value: &str) -> String {
        let mut pairs = self.0.clone();
        pairs.insert(name.to_owned(), value.to_owned());
        format!("{path}?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_round_trip() {
        let query = Query::read(b"number=%2B15555550142&status=&call_id=+a+b+");
        assert_eq!(query.text("number").as_deref(), Some("+15555550142"));
        assert_eq!((query.text("status"), query.text("call_id").as_deref()), (None, Some("a b")));
        let again = query.with("/p", "before", "1");
        assert_eq!(again, "/p?before=1&call_id=a+b&number=%2B15555550142");
        assert_eq!(Query::read(again.split_once('?').unwrap().1.as_bytes()).parsed::<u8>("before"), Ok(Some(1)));
    }

    #[test]
    fn an_invalid_parameter_is_named() {
        let query = Query::read(b"before=x&since=2026-11-01&until=2026-11-01T12:00:00Z&text=a%00b");
        assert_eq!(query.parsed::<u8>("before"), Err(InvalidParameter("before")));
        assert_eq!(query.time("before"), Err(InvalidParameter("before")));
        assert_eq!(query.time("since").unwrap().unwrap().to_string(), "2026-11-01T00:00:00Z");
        assert_eq!(query.time("until").unwrap().unwrap().to_string(), "2026-11-01T12:00:00Z");
        assert_eq!((query.text("text"), query.time("nothing")), (None, Ok(None)));
    }

    /// E4: PostgreSQL has no year 0.
    #[test]
    fn a_time_that_no_row_can_have_is_invalid() {
        for text in ["0000-01-01", "-009999-01-01", "0000-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "10000-01-01"] {
            let query = Query::default().with("/p", "since", text);
            let query = Query::read(query.split_once('?').unwrap().1.as_bytes());
            assert_eq!(query.time("since"), Err(InvalidParameter("since")), "{text}");
        }
    }
}
