//! A failure, reduced to the data that may be logged and that decides whether the event is retried.

use std::fmt;

use jiff::Timestamp;
use ringfence_protocol::FailedAttempt;
use ringfence_vapi::FailureCode;
use tokio_postgres::error::SqlState;

/// Why an operation failed.
///
/// Contains the SQLSTATE and the name of the violated constraint, never `PostgreSQL`'s message, DETAIL or HINT, because
/// these can contain values of a row and thus personal data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    pub code: FailureCode,
    /// Five characters. None: the failure is not an answer of the server.
    pub sqlstate: Option<String>,
    /// The violated constraint. None for other failures.
    pub constraint: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.code.title())?;
        if let Some(sqlstate) = &self.sqlstate {
            write!(f, ", SQLSTATE {sqlstate}")?;
        }
        if let Some(constraint) = &self.constraint {
            write!(f, ", constraint {constraint}")?;
        }
        Ok(())
    }
}

impl Failure {
    /// The SQL function returned an outcome that this release does not know, because a deployment is in progress.
    pub(crate) fn unknown_outcome() -> Self {
        FailureCode::SchemaMismatch.into()
    }

    /// The database is unavailable, so the next statement would fail too. A statement that the server ended because of
    /// its timeout says nothing about the next one.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self.code {
            FailureCode::DatabaseUnreachable => true,
            FailureCode::DatabaseTimeout => self.sqlstate.is_none(),
            _ => false,
        }
    }

    /// The failed attempt of `function`, to be recorded with the event.
    #[must_use]
    pub fn attempt(&self, function: &str, failed_at: Timestamp) -> FailedAttempt {
        FailedAttempt {
            failed_at,
            function: function.to_owned(),
            code: self.code,
            sqlstate: self.sqlstate.clone(),
            constraint: self.constraint.clone(),
        }
    }
}

impl From<FailureCode> for Failure {
    fn from(code: FailureCode) -> Self {
        Self { code, sqlstate: None, constraint: None }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(answer) = error.as_db_error() else {
            // The server sent no error and the network is not the cause: the driver could not write the statement or
            // read the row.
            let is_unreachable = error.is_closed() || is_io(&error);
            return if is_unreachable { FailureCode::DatabaseUnreachable } else { FailureCode::StatementRefused }
                .into();
        };
        Self {
            code: code_of(answer.code()),
            sqlstate: Some(answer.code().code().to_owned()),
            constraint: answer.constraint().map(str::to_owned),
        }
    }
}

/// Whether the cause is the network, TLS or the protocol's handshake.
fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<std::io::Error>() || cause.is::<native_tls::Error>() {
            return true;
        }
        source = cause.source();
    }
    false
}

/// The failure code of a SQLSTATE, by class if the whole class has one meaning.
///
/// A failure that an operator or a finished deployment can fix is transient: a wrong password, a missing database or a
/// missing function must not move events to the dead-letter queue while it is being fixed.
fn code_of(state: &SqlState) -> FailureCode {
    match state.code() {
        "57014" => FailureCode::DatabaseTimeout,
        "40001" | "40P01" | "55P03" | "26000" => FailureCode::DatabaseConflict,
        "25006" => FailureCode::DatabaseRestarting,
        "3D000" => FailureCode::DatabaseUnreachable,
        "42P10" | "42883" | "42P01" | "42703" | "42704" | "42501" => FailureCode::SchemaMismatch,
        "RF006" => FailureCode::SecondOrgInTransaction,
        code => match &code[..2] {
            "08" | "28" => FailureCode::DatabaseUnreachable,
            "53" | "58" => FailureCode::DatabaseExhausted,
            "57" => FailureCode::DatabaseRestarting,
            "23" => FailureCode::ConstraintViolated,
            _ => FailureCode::StatementRefused,
        },
    }
}

#[cfg(test)]
mod tests {
    use ringfence_vapi::FailureClass;

    use super::*;

    #[test]
    fn the_sqlstate_decides_the_failure_class() {
        for (state, code, class) in [
            ("40P01", FailureCode::DatabaseConflict, FailureClass::Transient),
            ("53300", FailureCode::DatabaseExhausted, FailureClass::Transient),
            ("57P01", FailureCode::DatabaseRestarting, FailureClass::Transient),
            ("57014", FailureCode::DatabaseTimeout, FailureClass::Transient),
            ("08006", FailureCode::DatabaseUnreachable, FailureClass::Transient),
            ("28P01", FailureCode::DatabaseUnreachable, FailureClass::Transient),
            ("42P10", FailureCode::SchemaMismatch, FailureClass::Transient),
            ("42883", FailureCode::SchemaMismatch, FailureClass::Transient),
            ("23514", FailureCode::ConstraintViolated, FailureClass::Permanent),
            ("22P02", FailureCode::StatementRefused, FailureClass::Permanent),
            ("RF006", FailureCode::SecondOrgInTransaction, FailureClass::Permanent),
        ] {
            let found = code_of(&SqlState::from_code(state));
            assert_eq!((found, found.class()), (code, class), "{state}");
        }
    }

    #[test]
    fn a_failure_reads_as_code_state_and_constraint() {
        let error = Failure {
            code: FailureCode::ConstraintViolated,
            sqlstate: Some("23514".to_owned()),
            constraint: Some("call_logs_org_id_not_null".to_owned()),
        };
        let text = error.to_string();
        assert!(text.starts_with("RF2001: "), "{text}");
        assert!(text.ends_with(", SQLSTATE 23514, constraint call_logs_org_id_not_null"), "{text}");
    }
}
