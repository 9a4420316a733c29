//! Personal data that must not reach a log.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value that is stored and queued but never printed: its `Debug` is `[redacted]` and it has no `Display`.
///
/// Every personal field of an event has this type, so that logging an event or a panic does not reveal personal data.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sensitive<T>(T);

impl<T> Sensitive<T> {
    /// The value. The method's name makes each use easy to find in review.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// The value, without the wrapper.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> From<T> for Sensitive<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_serialised_as_it_is_and_never_printed() {
        let number = Sensitive::from("+15555550142".to_owned());
        assert_eq!(serde_json::to_string(&number).unwrap(), r#""+15555550142""#);
        assert_eq!(format!("{:?}", Some(number)), "Some([redacted])");
    }
}
