//! `GET /health`: 200 with the size of the database, or 503 within 2 s while the database is unavailable.

use lambda_http::Body;
use lambda_http::http::{Response, StatusCode};
use ringfence_core::Database;
use ringfence_core::health::database_size_mb;
use ringfence_runtime::problem::{answer, problem};
use serde_json::json;

pub async fn check(database: &Database) -> Response<Body> {
    match database_size_mb(database).await {
        Ok(size) => answer(StatusCode::OK, &json!({"status": "ok", "database_size_mb": size})),
        Err(failure) => {
            tracing::error!(failure.code = %failure.code, db.sqlstate = failure.sqlstate, "health check failed");
            problem(failure.code, "the database does not answer")
        }
    }
}
