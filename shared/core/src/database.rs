//! The connection of an execution environment, and its replacement when it is broken.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ringfence_vapi::FailureCode;
use tokio::sync::Mutex;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::circuit_breaker::OpenCircuit;
use crate::connect::{ConfigurationError, Connector, DatabaseSettings, Timeouts};
use crate::error::Failure;

/// A parameter of a statement with its type. The type saves the round trip in which the driver would ask for it.
pub type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A dead idle connection fails within this time. A statement that fails later is not repeated, because the sender of
/// the webhook has waited long enough.
const QUICK: Duration = Duration::from_secs(1);

/// A connection to `PostgreSQL` that is opened when needed and replaced when broken.
///
/// An execution environment serves one request at a time, so it needs one connection. Statements are sent unnamed and
/// with one flush (`query_typed`): each takes one round trip and is safe behind a pooler that assigns a server per
/// transaction.
///
/// Connecting and a statement have a timeout each ([`Timeouts`]). While the circuit breaker is open, a caller does not
/// wait at all.
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
    /// By the wall clock, because a monotonic clock stops while the environment is frozen.
    used_at: SystemTime,
}

impl Connection {
    /// Whether the connection is usable. A router may have dropped a connection that was long idle without informing
    /// either side; a statement sent over it would get no answer.
    fn is_usable(&self, now: SystemTime, max_idle: Duration) -> bool {
        let idle = now.duration_since(self.used_at).unwrap_or_default();
        !self.client.is_closed() && idle <= max_idle
    }
}

impl Database {
    /// Reads the settings. Does not connect.
    pub fn new(settings: &DatabaseSettings) -> Result<Self, ConfigurationError> {
        Ok(Self {
            connector: Connector::new(settings)?,
            timeouts: settings.timeouts,
            state: Mutex::new(State::default()),
        })
    }

    /// Starts to connect, so that the connection is open for the first request. Does not wait and cannot fail, because
    /// a function must also start while the database is unavailable.
    pub fn start_connecting(self: &Arc<Self>) {
        let database = Arc::clone(self);
        tokio::spawn(async move {
            // The request that needs the connection connects again and reports the failure.
            let _ = database.connection().await;
        });
    }

    /// Runs a statement that returns exactly one row.
    ///
    /// An idle connection may have died while the environment was frozen. A statement that finds it dead is sent again
    /// over a new connection. This is safe even if the first statement was committed and its answer was lost: a
    /// statement that applies an event finds its own claim, and the other statements are idempotent.
    pub async fn query_one(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Row, Failure> {
        self.query_one_within(self.timeouts.statement, statement, parameters).await
    }

    /// The same with a shorter timeout for the statement: `limit`, at most the default.
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
            // The server did not answer, and the state of the connection is unknown.
            let circuit = OpenCircuit::new(SystemTime::now(), FailureCode::DatabaseTimeout);
            *self.state.lock().await = State { connection: None, circuit: Some(circuit) };
            return Err(FailureCode::DatabaseTimeout.into());
        };
        // Every statement here selects from a function that returns one row, so no row is a bug to report.
        result?.pop().ok_or_else(|| FailureCode::StatementRefused.into())
    }

    /// The connection, and whether it was already open.
    async fn connection(&self) -> Result<(Arc<Client>, bool), Failure> {
        let mut state = self.state.lock().await;
        let now = SystemTime::now();
        if let Some(connection) = state.connection.as_mut().filter(|c| c.is_usable(now, self.timeouts.max_idle)) {
            connection.used_at = now;
            return Ok((Arc::clone(&connection.client), true));
        }
        state.connection = None;
        let open_time = self.timeouts.retry_after;
        if let Some(code) = state.circuit.and_then(|circuit| circuit.failure_while_open(now, open_time)) {
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
