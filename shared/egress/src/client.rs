//! Requests to URLs that others chose: endpoints of orgs and links to recordings. Such a URL may lead into the private
//! network, so the client checks the address when it connects and follows no redirect. The caller bounds time and size.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_tls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::TokioExecutor;
use native_tls::TlsConnector;
use tower_service::Service;

use crate::tls;

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// Not sent: the URL leads to a private address, or has no TLS.
    #[error("the address is refused")]
    AddressRefused,
    /// Not sent: there is no connection.
    #[error("no connection")]
    Unreachable,
    /// The server may have read the request. The connection ended before the response.
    #[error("the connection was lost")]
    ConnectionLost,
}

/// The egress policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgressPolicy {
    /// Public addresses over HTTPS.
    Public,
    /// Any address, also over plain HTTP, for the development of endpoints.
    Anywhere,
}

impl std::str::FromStr for EgressPolicy {
    type Err = UnknownPolicy;

    /// `public` or `anywhere`.
    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        match text {
            "public" => Ok(Self::Public),
            "anywhere" => Ok(Self::Anywhere),
            _ => Err(UnknownPolicy),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the egress policy is neither public nor anywhere")]
pub struct UnknownPolicy;

impl EgressPolicy {
    fn allows(self, address: IpAddr) -> bool {
        self == Self::Anywhere || is_public(address)
    }
}

/// Sends requests, over a connection each. Its clones share the TLS configuration.
#[derive(Clone)]
pub struct EgressClient {
    policy: EgressPolicy,
    client: Arc<LazyLock<ClientResult, Box<dyn FnOnce() -> ClientResult + Send>>>,
}

type HttpsClient = Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;
type ClientResult = Result<HttpsClient, native_tls::Error>;

impl EgressClient {
    /// Does not connect. The certificates of the public authorities are loaded with the first request.
    #[must_use]
    pub fn new(policy: EgressPolicy) -> Self {
        Self::with_connector(policy, tls::connector)
    }

    /// The same, with another bundle of CAs (PEM) than the system's.
    #[must_use]
    pub fn with_bundle(policy: EgressPolicy, bundle: String) -> Self {
        Self::with_connector(policy, move || tls::connector_with(bundle.as_bytes()))
    }

    fn with_connector(
        policy: EgressPolicy,
        connector: impl FnOnce() -> Result<TlsConnector, native_tls::Error> + Send + 'static,
    ) -> Self {
        Self { policy, client: Arc::new(LazyLock::new(Box::new(move || Ok(client(policy, connector()?))))) }
    }

    /// Sends a request and returns the head of the response, whatever its status.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, EgressError> {
        self.check(request.uri())?;
        let client = LazyLock::force(&self.client).as_ref().map_err(|error| {
            tracing::error!(%error, "the TLS client was not created");
            EgressError::Unreachable
        })?;
        client.request(request).await.map_err(|error| {
            match (caused_by_address(&error), error.is_connect()) {
                (true, _) => EgressError::AddressRefused,
                (false, true) => EgressError::Unreachable,
                // The server may have read the request.
                (false, false) => EgressError::ConnectionLost,
            }
        })
    }

    /// The resolver does not see an address in the URL itself, so it is checked here.
    fn check(&self, url: &Uri) -> Result<(), EgressError> {
        let host = url.host().ok_or(EgressError::AddressRefused)?;
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let is_encrypted = url.scheme() == Some(&Scheme::HTTPS) || self.policy == EgressPolicy::Anywhere;
        let is_reachable = literal.is_none_or(|address| self.policy.allows(address));
        if is_encrypted && is_reachable { Ok(()) } else { Err(EgressError::AddressRefused) }
    }
}

fn client(policy: EgressPolicy, connector: TlsConnector) -> HttpsClient {
    let mut tcp = HttpConnector::new_with_resolver(Resolver { inner: GaiResolver::new(), policy });
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let https = HttpsConnector::from((tcp, connector.into()));
    // No connection is reused: while the environment is frozen, a router may drop it. A request sent over it would be
    // lost, and it would be unknown whether it had arrived. A handshake for each request costs less.
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(https)
}

/// Whether the resolver refused the addresses of the host name.
fn caused_by_address(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<NotPublic>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A host name has no allowed address.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not a public address")]
struct NotPublic;

/// Resolves host names to allowed addresses. The connection uses exactly these addresses; the name is not resolved
/// again.
#[derive(Clone)]
struct Resolver {
    inner: GaiResolver,
    policy: EgressPolicy,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(io::Error::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (resolved, policy) = (self.inner.call(name), self.policy);
        Box::pin(async move {
            let addresses: Vec<_> = resolved.await?.filter(|address| policy.allows(address.ip())).collect();
            if addresses.is_empty() { Err(NotPublic.into()) } else { Ok(addresses.into_iter()) }
        })
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// True unless the address is in IANA's registry of special-purpose addresses (RFC 6890).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b));
    !is_special
}

/// Global unicast, except the ranges that lead to IPv4 or are reserved.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let is_global = a & 0xe000 == 0x2000;
    let is_special = match a {
        0x2001 => b < 0x0200 || b == 0x0db8,
        0x2002 | 0x3fff => true,
        _ => false,
    };
    is_global && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_purpose_addresses_are_not_public() {
        for (address, public) in [
            ("93.184.216.34", true),
            ("8.8.8.8", true),
            ("127.0.0.1", false),
            ("127.9.9.9", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("0.0.0.0", false),
            ("192.0.0.8", false),
            ("192.0.2.1", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("240.0.0.1", false),
            ("2606:2800:220:1::1", true),
            ("2a00:1450::1", true),
            ("::1", false),
            ("::", false),
            ("::ffff:10.0.0.1", false),
            ("::ffff:8.8.8.8", false),
            ("64:ff9b::a00:1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
            ("2002:a00:1::", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("2001:4860::1", true),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }

    #[test]
    fn a_url_with_an_address_or_without_tls_is_checked_before_anything_is_sent() {
        for (url, public) in [
            ("https://tools.example.com/book", true),
            ("https://93.184.216.34/book", true),
            ("http://tools.example.com/book", false),
            ("https://127.0.0.1:8443/book", false),
            ("https://[::1]/book", false),
            ("https://[::ffff:169.254.169.254]/latest", false),
            ("/book", false),
        ] {
            let url: Uri = url.parse().unwrap();
            assert_eq!(EgressClient::new(EgressPolicy::Public).check(&url).is_ok(), public, "{url}");
        }
        assert!(EgressClient::new(EgressPolicy::Anywhere).check(&"http://127.0.0.1:9/".parse().unwrap()).is_ok());
    }

    #[tokio::test]
    async fn a_name_that_leads_to_loopback_is_refused_when_it_is_resolved() {
        for url in ["https://localhost:9/book", "https://2130706433:9/book"] {
            let request = Request::get(url).body(Full::default()).unwrap();
            let refused = EgressClient::new(EgressPolicy::Public).send(request).await.map(drop);
            assert_eq!(refused, Err(EgressError::AddressRefused), "{url}");
        }
    }
}
