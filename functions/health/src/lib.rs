//! `GET /health`: 200 with the database's size, or 503 within 2 s when it does not answer.

use lambda_http::Body;
use lambda_http::http::{Response, StatusCode};
use ringfence_core::Database;
use ringfence_core::health::database_size_mb;
use ringfence_runtime::problem::{answer, problem};
use serde_json::json;

/// Answers a health check.
pub async fn check(database: &Database) -> Response<Body> {
    match database_size_mb(database).await {
        Ok(size) => answer(StatusCode::OK, &json!({"status": "ok", "database_size_mb": size})),
        Err(failure) => {
            tracing::error!(failure.code = %failure.code, db.sqlstate = failure.sqlstate, "health check failed");
            problem(failure.code, "the database does not answer")
        }
    }
}
