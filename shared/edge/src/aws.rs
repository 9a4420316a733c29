//! What the AWS SDK needs to know, and its HTTP client.
//!
//! Lambda says everything in the environment, so nothing else is searched. The client shares its TLS library with the database's
//! connection: the SDK's own would bring a second one, a quarter of what is uploaded. It is made when it is first needed, which for
//! most environments is never.

use std::sync::LazyLock;
use std::time::Duration;

use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use hyper_tls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::TokioExecutor;
use native_tls::{Certificate, TlsConnector};

use crate::configuration::Environment;

/// The longest wait for a service, all attempts together: the sender of a webhook still waits for its answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// Where systems keep the certificates of public authorities, Lambda's first.
const PUBLIC_AUTHORITIES: [&str; 3] =
    ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem"];

/// AWS configuration for functions: region and credentials from the environment, bounded waits.
#[must_use]
pub fn configuration(environment: &Environment<'_>) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(Duration::from_secs(2))
        .operation_timeout(PATIENCE)
        .build();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(environment.optional("AWS_REGION").map(Region::new))
        .http_client(http_client())
        .timeout_config(timeouts)
        .service_config(Endpoints);
    config.set_endpoint_url(environment.optional("AWS_ENDPOINT_URL"));
    config.set_credentials_provider(credentials(environment).map(SharedCredentialsProvider::new));
    config.build()
}

/// The role's credentials, which Lambda replaces together with the process.
fn credentials(environment: &Environment<'_>) -> Option<Credentials> {
    let key = environment.optional("AWS_ACCESS_KEY_ID")?;
    let secret = environment.optional("AWS_SECRET_ACCESS_KEY")?;
    Some(Credentials::new(key, secret, environment.optional("AWS_SESSION_TOKEN"), None, "environment"))
}

/// Endpoints of single services: `AWS_ENDPOINT_URL_LAMBDA`, as the SDK's own configuration reads them.
#[derive(Debug)]
struct Endpoints;

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_uppercase().replace([' ', '-'], "_");
        Environment::of_process().optional(&format!("{}_{service}", key.env()))
    }
}

/// One connector for all requests, whatever their settings: the SDK asks for one with each.
fn http_client() -> SharedHttpClient {
    let https = SharedHttpConnector::new(Https::new());
    http_client_fn(move |_, _| https.clone())
}

type Connections = Client<HttpsConnector<TcpConnector>, SdkBody>;
type Made = Result<Connections, native_tls::Error>;

/// Sends requests over connections that are kept.
#[derive(Debug)]
struct Https(LazyLock<Made, Box<dyn FnOnce() -> Made + Send>>);

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

fn connections() -> Made {
    let mut tcp = TcpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    let https = HttpsConnector::from((tcp, tls_connector()?.into()));
    Ok(Client::builder(TokioExecutor::new()).build(https))
}

/// Trusts the public authorities, also where the environment keeps the library from loading them at every start
/// (`SSL_CERT_FILE` in the template).
pub(crate) fn tls_connector() -> Result<TlsConnector, native_tls::Error> {
    let mut builder = TlsConnector::builder();
    let authorities = PUBLIC_AUTHORITIES.iter().find_map(|path| std::fs::read(path).ok());
    for certificate in authorities.map(|pem| Certificate::stack_from_pem(&pem)).transpose()?.unwrap_or_default() {
        builder.add_root_certificate(certificate);
    }
    builder.build()
}
