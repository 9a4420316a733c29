//! The two secrets that the template requires, in the cloud's Secrets Manager.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use ringfence_harness::error::{Context, Result};
use ringfence_harness::local::database::Database;
use ringfence_harness::local::http;
use ringfence_harness::local::secrets::Secrets;

const LIMIT: Duration = Duration::from_secs(30);

/// Creates the secrets. Returns the template parameters with their ARNs and versions.
pub(super) async fn create(endpoint: &str, database: &Database, secrets: &Secrets) -> Result<Vec<String>> {
    let ca = std::env::var("DATABASE_CA_PEM").ok();
    let of_database = json!({
        "app_url": database.app_url,
        "owner_url": database.owner_url,
        "app_password": secrets.app_password,
        "ca_pem": ca,
    });
    let of_keys = json!({ "master_keys": secrets.master_keys_variable() });
    let database = create_one(endpoint, "ringfence/database", &of_database).await?;
    let keys = create_one(endpoint, "ringfence/keys", &of_keys).await?;
    Ok(vec![
        format!("DatabaseSecretArn={}", database.arn),
        format!("DatabaseSecretVersion={}", database.version_id),
        format!("DatabaseCa={}", if ca.is_some() { "secret" } else { "public" }),
        format!("RingfenceSecretArn={}", keys.arn),
        format!("RingfenceSecretVersion={}", keys.version_id),
    ])
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "ARN")]
    arn: String,
    #[serde(rename = "VersionId")]
    version_id: String,
}

/// Creates a secret. MiniStack accepts requests without a signature.
async fn create_one(endpoint: &str, name: &str, value: &Value) -> Result<Created> {
    let request = json!({ "Name": name, "SecretString": value.to_string() });
    let answer = http::client(LIMIT)?
        .post(endpoint)
        .header("x-amz-target", "secretsmanager.CreateSecret")
        .header("content-type", "application/x-amz-json-1.1")
        .body(request.to_string())
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .context(format_args!("create the secret {name}"))?;
    answer.json().await.context(format_args!("create the secret {name}"))
}
