//! The SDK's configuration for functions, and its HTTP client.
//!
//! Lambda sets region and credentials in the environment, so the SDK searches nowhere else. The HTTP client uses the
//! TLS library of the database connection: the SDK's own client would link a second one, a quarter of the package. The
//! client is created at the first request, which most environments never send.

use std::sync::LazyLock;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use hyper_tls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::TokioExecutor;
use ringfence_egress::tls;

/// Bounds an operation with all attempts: the sender of a webhook waits for the answer.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Region, credentials and endpoint from environment variables, with timeouts. `variable` reads a variable.
#[must_use]
pub fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(Duration::from_secs(2))
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(variable("AWS_REGION").map(Region::new))
        .http_client(http_client())
        .timeout_config(timeouts)
        .service_config(Endpoints);
    config.set_endpoint_url(variable("AWS_ENDPOINT_URL"));
    config.set_credentials_provider(credentials(variable).map(SharedCredentialsProvider::new));
    config.build()
}

/// The role's credentials. Lambda replaces them together with the process.
fn credentials(variable: &dyn Fn(&str) -> Option<String>) -> Option<Credentials> {
    let key = variable("AWS_ACCESS_KEY_ID")?;
    let secret = variable("AWS_SECRET_ACCESS_KEY")?;
    Some(Credentials::new(key, secret, variable("AWS_SESSION_TOKEN"), None, "environment"))
}

/// The endpoint of one service, for example from `AWS_ENDPOINT_URL_LAMBDA`, as in the SDK's own configuration.
#[derive(Debug)]
struct Endpoints;

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_uppercase().replace([' ', '-'], "_");
        std::env::var(format!("{}_{service}", key.env())).ok().filter(|url| !url.is_empty())
    }
}

/// One connector for all requests with any settings. The SDK asks for a connector with each request.
fn http_client() -> SharedHttpClient {
    let https = SharedHttpConnector::new(Https::new());
    http_client_fn(move |_, _| https.clone())
}

type Connections = Client<HttpsConnector<TcpConnector>, SdkBody>;
type ConnectionsResult = Result<Connections, native_tls::Error>;

/// An HTTPS client that keeps its connections open.
#[derive(Debug)]
struct Https(LazyLock<ConnectionsResult, Box<dyn FnOnce() -> ConnectionsResult + Send>>);

impl Https {
    fn new() -> Self {
        Self(LazyLock::new(Box::new(connections)))
    }
}

impl HttpConnector for Https {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connections = match &*self.0 {
            Ok(connections) => connections.clone(),
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::other(error.to_string().into(), None)));
            }
        };
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let response = connections.request(request).await.map_err(|error| ConnectorError::io(error.into()))?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

fn connections() -> ConnectionsResult {
    let mut tcp = TcpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let https = HttpsConnector::from((tcp, tls::connector()?.into()));
    Ok(Client::builder(TokioExecutor::new()).build(https))
}
