//! Is the database there?

use std::time::Duration;

use ringfence_vapi::FailureCode;

use crate::database::Database;
use crate::error::Failure;

/// How long a health check waits for the database. The caller has its answer within 2 s in any case.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// The size of the database in megabytes (2^20 bytes), rounded.
pub async fn database_size_mb(database: &Database) -> Result<i64, Failure> {
    let statement = "SELECT round(pg_database_size(current_database()) / 1048576.0)::bigint";
    let row = tokio::time::timeout(PATIENCE, database.query_one(statement, &[]))
        .await
        .map_err(|_| FailureCode::DatabaseTimeout)??;
    Ok(row.try_get(0)?)
}
