//! The one connection of an execution environment, and what is done when it is gone.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ringfence_vapi::FailureCode;
use tokio::sync::Mutex;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::circuit_breaker::OpenCircuit;
use crate::connect::{ConfigurationError, Connector, DatabaseSettings, Timeouts};
use crate::error::Failure;

/// A parameter of a statement with its type. Naming the type saves the round trip in which the driver would ask for it.
pub type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection that was dead before it was used fails at once. One that fails later failed at work, and the sender of the
/// webhook has waited long enough.
const QUICK: Duration = Duration::from_secs(1);

/// A connection to `PostgreSQL` that is made when needed and made anew when it broke.
///
/// An execution environment serves one request at a time, so one connection is all it can use. Statements go out unnamed and in
/// one flush (`query_typed`): one round trip each, and safe behind a pooler that gives every transaction another server.
///
/// Whoever asks waits a bounded time: for a connection and for a statement once each ([`Timeouts`]), and not at all while the
/// database is known to be away.
pub struct Database {
    connector: Connector,
    timeouts: Timeouts,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    circuit: Option<OpenCircuit>,
}

struct Connection {
    client: Arc<Client>,
    /// By the wall clock, which goes on while the environment is frozen.
    used_at: SystemTime,
}

impl Connection {
    /// Whether it can be used. One that was idle for long may have been forgotten by a router on the way, without a word to
    /// either side: a statement sent over it would get no answer.
    fn is_usable(&self, now: SystemTime, max_idle: Duration) -> bool {
        let idle = now.duration_since(self.used_at).unwrap_or_default();
        !self.client.is_closed() && idle <= max_idle
    }
}

impl Database {
    /// Reads the settings; connects to nothing yet.
    pub fn new(settings: &DatabaseSettings) -> Result<Self, ConfigurationError> {
        Ok(Self {
            connector: Connector::new(settings)?,
            timeouts: settings.timeouts,
            state: Mutex::new(State::default()),
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
    /// a statement that applies an event finds its own claim, and what the others write is the same when it is written twice.
    pub async fn query_one(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Row, Failure> {
        self.query_one_within(self.timeouts.statement, statement, parameters).await
    }

    /// The same for somebody who has less time: the statement is waited for as long as `limit`, and no longer than any other.
    pub async fn query_one_within(
        &self,
        limit: Duration,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Row, Failure> {
        let limit = limit.min(self.timeouts.statement);
        let (client, reused) = self.connection().await?;
        let began = Instant::now();
        match self.run(&client, limit, statement, parameters).await {
            Err(error) if reused && client.is_closed() && began.elapsed() < QUICK => {
                tracing::debug!(failure.code = %error.code, "idle connection was dead");
                let (client, _) = self.connection().await?;
                self.run(&client, limit, statement, parameters).await
            }
            result => result,
        }
    }

    async fn run(
        &self,
        client: &Arc<Client>,
        limit: Duration,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Row, Failure> {
        let query = client.query_typed(statement, parameters);
        let Ok(result) = tokio::time::timeout(limit, query).await else {
            // The server says nothing. Nobody knows what is still on its way over this connection.
            let circuit = OpenCircuit::new(SystemTime::now(), FailureCode::DatabaseTimeout);
            *self.state.lock().await = State { connection: None, circuit: Some(circuit) };
            return Err(FailureCode::DatabaseTimeout.into());
        };
        // Every statement here selects from a function that answers with one row, so none at all is a bug to report.
        result?.pop().ok_or_else(|| FailureCode::StatementRefused.into())
    }

    /// The connection, and whether it had been made before.
    async fn connection(&self) -> Result<(Arc<Client>, bool), Failure> {
        let mut state = self.state.lock().await;
        let now = SystemTime::now();
        if let Some(connection) = state.connection.as_mut().filter(|c| c.is_usable(now, self.timeouts.max_idle)) {
            connection.used_at = now;
            return Ok((Arc::clone(&connection.client), true));
        }
        state.connection = None;
        if let Some(code) = state.circuit.and_then(|circuit| circuit.remembered(now, self.timeouts.retry_after)) {
            return Err(code.into());
        }
        match self.connector.connect().await {
            Ok(client) => {
                let client = Arc::new(client);
                let connection = Connection { client: Arc::clone(&client), used_at: SystemTime::now() };
                *state = State { connection: Some(connection), circuit: None };
                Ok((client, false))
            }
            Err(failure) => {
                state.circuit = Some(OpenCircuit::new(SystemTime::now(), failure.code));
                Err(failure)
            }
        }
    }
}
