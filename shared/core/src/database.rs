//! The one connection of an execution environment, and what is done when it is gone.

use std::sync::Arc;
use std::time::Duration;

use ringfence_vapi::FailureCode;
use tokio::sync::Mutex;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::connect::{ConfigurationError, Connector, DatabaseSettings};
use crate::error::Failure;

/// A parameter of a statement with its type. Naming the type saves the round trip in which the driver would ask for it.
pub type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection to `PostgreSQL` that is made when needed and made anew when it broke.
///
/// An execution environment serves one request at a time, so one connection is all it can use. Statements go out unnamed and in
/// one flush (`query_typed`): one round trip each, and safe behind a pooler that gives every transaction another server.
pub struct Database {
    connector: Connector,
    statement_timeout: Duration,
    connection: Mutex<Option<Arc<Client>>>,
}

impl Database {
    /// Reads the settings; connects to nothing yet.
    pub fn new(settings: &DatabaseSettings) -> Result<Self, ConfigurationError> {
        Ok(Self {
            connector: Connector::new(settings)?,
            statement_timeout: settings.statement_timeout,
            connection: Mutex::new(None),
        })
    }

    /// Starts to connect, so that the first request finds the connection made. Waits for nothing and cannot fail: with the
    /// database away a function must start all the same.
    pub fn start_connecting(self: &Arc<Self>) {
        let database = Arc::clone(self);
        tokio::spawn(async move {
            // The request that needs the connection tries again and reports what it meets.
            let _ = database.connection().await;
        });
    }

    /// Runs a statement that answers with exactly one row.
    ///
    /// A connection that was left idle may have died unnoticed while the environment was frozen, so a statement that finds
    /// it dead is sent once more over a new one. That is safe also if the first one was committed and only its answer was lost:
    /// every statement that writes claims an event and finds its own claim.
    pub async fn query_one(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Row, Failure> {
        let (client, reused) = self.connection().await?;
        match self.run(&client, statement, parameters).await {
            Err(error) if reused && client.is_closed() => {
                tracing::debug!(failure.code = %error.code, "idle connection was dead");
                self.forget(&client).await;
                let (client, _) = self.connection().await?;
                self.run(&client, statement, parameters).await
            }
            result => result,
        }
    }

    async fn run(&self, client: &Arc<Client>, statement: &str, parameters: &[Parameter<'_>]) -> Result<Row, Failure> {
        let query = client.query_typed(statement, parameters);
        let Ok(result) = tokio::time::timeout(self.statement_timeout, query).await else {
            // Nobody knows what is still on its way over this connection.
            self.forget(client).await;
            return Err(FailureCode::DatabaseTimeout.into());
        };
        // Every statement here selects from a function that answers with one row, so none at all is a bug to report.
        result?.pop().ok_or_else(|| FailureCode::StatementRefused.into())
    }

    /// The connection, and whether it had been made before.
    async fn connection(&self) -> Result<(Arc<Client>, bool), Failure> {
        let mut connection = self.connection.lock().await;
        if let Some(client) = connection.as_ref().filter(|client| !client.is_closed()) {
            return Ok((Arc::clone(client), true));
        }
        let client = Arc::new(self.connector.connect().await?);
        *connection = Some(Arc::clone(&client));
        Ok((client, false))
    }

    async fn forget(&self, client: &Arc<Client>) {
        let mut connection = self.connection.lock().await;
        if connection.as_ref().is_some_and(|current| Arc::ptr_eq(current, client)) {
            *connection = None;
        }
    }
}
