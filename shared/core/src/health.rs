//! The database part of the health check.

use std::time::Duration;

use crate::connect::Timeouts;
use crate::database::Database;
use crate::error::Failure;

/// Shorter timeouts: a health check answers within 2 s and is repeated soon.
pub const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_millis(700),
    statement: Duration::from_secs(1),
    max_idle: Duration::from_mins(2),
    retry_after: Duration::ZERO,
};

/// The size of the database in megabytes (2^20 bytes), rounded.
pub async fn database_size_mb(database: &Database) -> Result<i64, Failure> {
    let statement = "SELECT round(pg_database_size(current_database()) / 1048576.0)::bigint";
    Ok(database.query_one(statement, &[]).await?.try_get(0)?)
}
