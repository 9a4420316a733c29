//! What stands behind the question mark, or in a form.

use std::collections::BTreeMap;
use std::str::FromStr;

/// Names and values, decoded. An empty value counts as absent: forms send all their fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads `application/x-www-form-urlencoded`.
    pub(crate) fn read(encoded: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(encoded).filter(|(_, value)| !value.is_empty());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.trim().to_owned())).collect())
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// A value that has a type; what is none counts as absent.
    pub(crate) fn parsed<T: FromStr>(&self, name: &str) -> Option<T> {
        self.0.get(name)?.parse().ok()
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
        assert_eq!(Query::read(again.split_once('?').unwrap().1.as_bytes()).parsed::<u8>("before"), Some(1));
    }
}
