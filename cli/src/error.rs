//! Error of the tool: a message for the user, with its causes.

use std::error::Error as StdError;
use std::fmt;

/// Result of the tool's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed action and its reason.
#[derive(Debug)]
pub struct Error {
    message: String,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error whose message is complete and says what to do.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), cause: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut cause = self.cause.as_deref().map(|cause| cause as &dyn StdError);
        while let Some(error) = cause {
            write!(f, "\n  because: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Adds the failed action to an error.
pub trait Context<T> {
    /// `doing` completes the sentence "could not ...".
    fn context(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T, E: StdError + Send + Sync + 'static> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|cause| Error { message: format!("could not {doing}"), cause: Some(Box::new(cause)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_operation_and_its_cause() {
        let failed: std::result::Result<(), _> = Err(std::io::Error::other("disk full"));
        let error = failed.context("write the file").unwrap_err();
        assert_eq!(error.to_string(), "could not write the file\n  because: disk full");
    }
}
