//! The position of a viewer in an org's log.

use std::fmt;
use std::str::FromStr;

/// A position in an org's log: `{floor}`, or `{floor}.{xact}.{seq}` between two pages, each of 20 digits. Clients get it
/// sealed, because the ids of transactions tell how much the database writes for all orgs.
///
/// A sequence alone would miss events, because a lower sequence may be committed after a higher one. A viewer that has
/// read to the end therefore starts again at the first transaction that was open at that time, and drops duplicates by
/// the frames' `seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// All entries of earlier transactions have been read.
    pub(super) floor: u64,
    /// Within a sweep: the transaction and the sequence of the last entry that was read.
    pub(super) after: Option<(u64, i64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct InvalidCursor;

impl Cursor {
    /// A cursor that the log does not contain, so that a resume is a reset.
    pub const BEYOND: Self = Self { floor: u64::MAX, after: None };
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}", self.floor)?;
        self.after.map_or(Ok(()), |(xact, seq)| write!(f, ".{xact:020}.{seq:020}"))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let mut parts = text.splitn(3, '.');
        let floor = parts.next().and_then(parse_transaction).ok_or(InvalidCursor)?;
        let after = match (parts.next(), parts.next()) {
            (None, _) => None,
            (Some(xact), Some(seq)) => {
                let seq = seq.parse().ok().filter(|seq| *seq >= 0).ok_or(InvalidCursor)?;
                Some((parse_transaction(xact).ok_or(InvalidCursor)?, seq))
            }
            (Some(_), None) => return Err(InvalidCursor),
        };
        Ok(Self { floor, after })
    }
}

/// `xid8` as PostgreSQL writes it. Digits only: Rust would also accept a sign.
pub(super) fn parse_transaction(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// `xid8` in JSON: a string, because JSON numbers do not hold all of its values.
pub(super) mod transaction {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer};

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_transaction(&text).ok_or_else(|| D::Error::custom("not a transaction"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_parsed_as_it_was_written() {
        for cursor in [Cursor { floor: 741, after: None }, Cursor { floor: 741, after: Some((u64::MAX, i64::MAX)) }] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn an_invalid_cursor_is_refused() {
        for text in ["", "a", "-1", "+1", "1.2", "1.2.", "1.2.-3", "1.2.3.4", "1 ", "99999999999999999999", "1.2.a"] {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
