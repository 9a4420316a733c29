//! HTTP to loopback addresses.

use std::time::Duration;

use reqwest::Client;

use crate::error::{Context, Result};

/// Client without a proxy, regardless of the environment variables.
pub fn client(timeout: Duration) -> Result<Client> {
    Client::builder().no_proxy().timeout(timeout).build().context("make an HTTP client")
}

/// Whether the URL answers with a success status within the timeout.
pub async fn answers(url: &str, timeout: Duration) -> bool {
    let Ok(client) = client(timeout) else { return false };
    client.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
}
