//! The start of a function: logging, configuration, the first connection. Nothing here waits for another machine, so a function also
//! starts while the database is unavailable.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lambda_runtime::Error;
use ringfence_core::{Database, DatabaseSettings, Timeouts};
use ringfence_egress::{EgressClient, Endpoints, VapiApi, vapi_api};

use crate::configuration::Environment;

/// The database. Its first connection is started, not awaited.
pub fn database(environment: &Environment<'_>) -> Result<Arc<Database>, Error> {
    database_with(environment, Timeouts::default())
}

/// The same with other timeouts.
pub fn database_with(environment: &Environment<'_>, timeouts: Timeouts) -> Result<Arc<Database>, Error> {
    let settings = DatabaseSettings { timeouts, ..environment.database()? };
    let database = Arc::new(Database::new(&settings)?);
    database.start_connecting();
    Ok(database)
}

#[cfg(feature = "connections")]
/// The connections of the WebSocket API whose endpoint is in `CONNECTIONS_ENDPOINT`.
pub fn connections(
    environment: &Environment<'_>,
    aws: &aws_types::SdkConfig,
) -> Result<ringfence_aws::Connections, Error> {
    Ok(ringfence_aws::Connections::new(aws, &environment.required("CONNECTIONS_ENDPOINT")?))
}

/// Vapi's REST API.
pub fn vapi_api(environment: &Environment<'_>) -> Result<VapiApi, Error> {
    Ok(VapiApi::new(EgressClient::new(environment.egress_policy()?), vapi_api::VAPI_API))
}

/// The client of the orgs' endpoints.
pub fn endpoints(environment: &Environment<'_>) -> Result<Arc<Endpoints>, Error> {
    let client = EgressClient::new(environment.egress_policy()?);
    Ok(Arc::new(Endpoints::new(client, environment.keys()?.endpoint_secrets()?)))
}

/// Lambda's deadline, in milliseconds since 1970, by this process's clock.
#[must_use]
pub fn until(deadline_ms: u64) -> Instant {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Instant::now() + Duration::from_millis(deadline_ms).saturating_sub(now)
}
