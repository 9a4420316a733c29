//! The connections of the WebSocket API, through its management endpoint.

use std::time::Duration;

use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
use aws_sdk_apigatewaymanagement::config::timeout::TimeoutConfig;
use aws_sdk_apigatewaymanagement::error::DisplayErrorContext;
use aws_sdk_apigatewaymanagement::operation::post_to_connection::PostToConnectionError;
use aws_sdk_apigatewaymanagement::primitives::Blob;
use aws_types::SdkConfig;
use futures_util::{StreamExt as _, stream};
use ringfence_vapi::FailureCode;

/// Bounds one push. The sender of the webhook waits for it, and a viewer that gets no frame now gets it later.
const PUSH_TIMEOUT: Duration = Duration::from_millis(800);
/// The most concurrent pushes. API Gateway allows some thousand new requests per second.
const MAX_CONCURRENT: usize = 32;

#[derive(Clone)]
pub struct Connections {
    client: Client,
}

/// The results of a push to several connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushes {
    pub delivered: usize,
    /// Connections that no longer exist.
    pub gone: Vec<String>,
    /// Connections that did not receive the frame and may still exist.
    pub failed: Vec<String>,
}

enum Push {
    Delivered,
    Gone,
    Failed,
}

impl Connections {
    /// The connections of the API at `endpoint`: `https://{api}.execute-api.{region}.amazonaws.com/{stage}`.
    #[must_use]
    pub fn new(aws: &SdkConfig, endpoint: &str) -> Self {
        let timeouts =
            TimeoutConfig::builder().operation_attempt_timeout(PUSH_TIMEOUT).operation_timeout(PUSH_TIMEOUT).build();
        let config = aws_sdk_apigatewaymanagement::config::Builder::from(aws).endpoint_url(endpoint);
        // A failed push is retried through the queue, with the queue's delays.
        let config = config.timeout_config(timeouts).retry_config(RetryConfig::disabled());
        Self { client: Client::from_conf(config.build()) }
    }

    /// Sends a text to all connections concurrently.
    pub async fn push(&self, connections: &[String], text: &str) -> Pushes {
        let push = |connection: &String| {
            let connection = connection.clone();
            async move { (self.push_to(&connection, text).await, connection) }
        };
        let pushes: Vec<_> = connections.iter().map(push).collect();
        let mut pushes = stream::iter(pushes).buffer_unordered(MAX_CONCURRENT);
        let mut result = Pushes::default();
        while let Some((push, connection)) = pushes.next().await {
            match push {
                Push::Delivered => result.delivered += 1,
                Push::Gone => result.gone.push(connection),
                Push::Failed => result.failed.push(connection),
            }
        }
        result
    }

    /// Closes a connection. A connection that no longer exists is no error.
    pub async fn close(&self, connection: &str) {
        if let Err(error) = self.client.delete_connection().connection_id(connection).send().await {
            tracing::debug!(error = %DisplayErrorContext(error), "a connection was not closed");
        }
    }

    async fn push_to(&self, connection: &str, text: &str) -> Push {
        let request = self.client.post_to_connection().connection_id(connection).data(Blob::new(text));
        match request.send().await {
            Ok(_) => Push::Delivered,
            Err(error) if error.as_service_error().is_some_and(PostToConnectionError::is_gone_exception) => Push::Gone,
            Err(error) => {
                let error = DisplayErrorContext(error);
                tracing::warn!(
                    failure.code = %FailureCode::PushFailed, connection.id = connection, %error, "a push failed"
                );
                Push::Failed
            }
        }
    }
}
