//! HTTP to loopback addresses.

use std::time::Duration;

use reqwest::Client;

use crate::error::{Context, Result};

/// A client that goes to this machine directly, whatever proxy the environment names.
pub fn client(timeout: Duration) -> Result<Client> {
    Client::builder().no_proxy().timeout(timeout).build().context("make an HTTP client")
}

/// Whether the address answers with success within the time.
pub async fn answers(url: &str, timeout: Duration) -> bool {
    let Ok(client) = client(timeout) else { return false };
    client.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
}
