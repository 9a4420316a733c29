//! What stands behind the question mark, or in a form.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Names and values, decoded. An empty value counts as absent: forms send all their fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(BTreeMap<String, String>);

/// A value cannot be read. Names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable(pub(crate) &'static str);

impl Query {
    /// Reads `application/x-www-form-urlencoded`.
    pub(crate) fn read(encoded: &[u8]) -> Self {
        // U+0000 is no text of the database's.
        let pairs = form_urlencoded::parse(encoded).filter(|(_, value)| !value.is_empty() && !value.contains('\0'));
        Self(pairs.map(|(name, value)| (name.into_owned(), value.trim().to_owned())).collect())
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// A value that has a type. What cannot be read is told, and not left out: whoever asked would get something else.
    pub(crate) fn parsed<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, Unreadable> {
        self.0.get(name).map(|value| value.parse().map_err(|_| Unreadable(name))).transpose()
    }

    /// A moment, or a day, which begins at midnight (UTC).
    pub(crate) fn time(&self, name: &'static str) -> Result<Option<Timestamp>, Unreadable> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        let day = || Some(text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
        text.parse().ok().or_else(day).map(Some).ok_or(Unreadable(name))
    }

    /// The names of what is asked for.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// An address with these and one more, or another.
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
    fn what_is_written_is_read() {
        let query = Query::read(b"number=%2B15555550142&status=&call_id=+a+b+");
        assert_eq!(query.text("number").as_deref(), Some("+15555550142"));
        assert_eq!((query.text("status"), query.text("call_id").as_deref()), (None, Some("a b")));
        let again = query.with("/p", "before", "1");
        assert_eq!(again, "/p?before=1&call_id=a+b&number=%2B15555550142");
        assert_eq!(Query::read(again.split_once('?').unwrap().1.as_bytes()).parsed::<u8>("before"), Ok(Some(1)));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let query = Query::read(b"before=x&since=2026-11-01&until=2026-11-01T12:00:00Z&text=a%00b");
        assert_eq!(query.parsed::<u8>("before"), Err(Unreadable("before")));
        assert_eq!(query.time("before"), Err(Unreadable("before")));
        assert_eq!(query.time("since").unwrap().unwrap().to_string(), "2026-11-01T00:00:00Z");
        assert_eq!(query.time("until").unwrap().unwrap().to_string(), "2026-11-01T12:00:00Z");
        assert_eq!((query.text("text"), query.time("nothing")), (None, Ok(None)));
    }
}
