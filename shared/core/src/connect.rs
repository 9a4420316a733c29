//! Connections: over verified TLS, unless the server is on this machine.

use std::time::Duration;

use native_tls::{Certificate, TlsConnector};
use postgres_native_tls::MakeTlsConnector;
use ringfence_vapi::{FailureClass, FailureCode};
use tokio_postgres::config::{Config, Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, NoTls, Socket};

use crate::error::Failure;

#[derive(Clone)]
pub struct DatabaseSettings {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// The CA certificates of the server (PEM). None: the public CAs of the system.
    pub ca_pem: Option<String>,
    pub timeouts: Timeouts,
}

/// Timeouts of connections and statements.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    pub connect: Duration,
    /// Bounds a statement. Longer than the role's `statement_timeout`, so that the server ends a slow statement and
    /// reports the reason. This timeout applies if the server does not answer.
    pub statement: Duration,
    /// A connection that was idle for longer is replaced.
    pub max_idle: Duration,
    /// How long the circuit breaker stays open.
    pub retry_after: Duration,
}

impl Default for Timeouts {
    /// For a webhook whose sender gives up after 20 s. Gateways and firewalls drop a connection that was idle for some
    /// minutes (350 s for a NAT gateway of AWS).
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            statement: Duration::from_secs(6),
            max_idle: Duration::from_mins(2),
            retry_after: Duration::from_millis(1_500),
        }
    }
}

impl DatabaseSettings {
    /// Settings with the default timeouts.
    #[must_use]
    pub fn new(url: impl Into<String>, ca_pem: Option<String>) -> Self {
        Self { url: url.into(), ca_pem, timeouts: Timeouts::default() }
    }
}

/// The settings are invalid. Never contains the URL, because it contains a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// Not a `PostgreSQL` connection URL.
    #[error("the database URL cannot be read")]
    Url,
    /// `sslmode=disable` to another machine.
    #[error("the database URL turns TLS off; that is possible on loopback only")]
    PlainText,
    /// The CA certificates are not PEM, or the TLS library refused them.
    #[error("the database's CA certificates cannot be read")]
    Certificates,
}

pub(crate) struct Connector {
    config: Config,
    /// None on loopback, unless the URL requires TLS: loading the CAs takes some ten milliseconds at the start.
    tls: Option<MakeTlsConnector>,
    timeout: Duration,
}

impl Connector {
    /// Reads the settings. Does not connect.
    pub(crate) fn new(settings: &DatabaseSettings) -> Result<Self, ConfigurationError> {
        let mut config: Config = settings.url.parse().map_err(|_| ConfigurationError::Url)?;
        if !is_loopback(&config) {
            if config.get_ssl_mode() == SslMode::Disable {
                return Err(ConfigurationError::PlainText);
            }
            config.ssl_mode(SslMode::Require);
        }
        config.connect_timeout(settings.timeouts.connect);
        let tls = match config.get_ssl_mode() {
            SslMode::Require => Some(MakeTlsConnector::new(tls_connector(settings.ca_pem.as_deref())?)),
            _ => None,
        };
        // The timeout applies to each host of the URL.
        let hosts = u32::try_from(config.get_hosts().len()).unwrap_or(1).max(1);
        Ok(Self { config, tls, timeout: settings.timeouts.connect * hosts })
    }

    /// Opens a connection. A task drives it until it closes.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        match &self.tls {
            Some(tls) => self.connect_with(tls.clone()).await,
            None => self.connect_with(NoTls).await,
        }
    }

    async fn connect_with<T>(&self, tls: T) -> Result<Client, Failure>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        // The driver's timeout covers TCP only. This one also covers a server that accepts the connection and never
        // answers.
        let (client, connection) = tokio::time::timeout(self.timeout, self.config.connect(tls))
            .await
            .map_err(|_| FailureCode::DatabaseTimeout)?
            .map_err(before_connected)?;
        tokio::spawn(async move {
            // The statement in flight reports the failure, so an error here would be logged twice.
            if connection.await.is_err() {
                tracing::debug!("database connection closed");
            }
        });
        Ok(client)
    }
}

/// No statement was sent yet, so a failure to connect is never permanent for the event that waits for it. The driver
/// reports some such failures as errors of the caller, for example a server without TLS.
fn before_connected(error: tokio_postgres::Error) -> Failure {
    let failure = Failure::from(error);
    match failure.code.class() {
        FailureClass::Transient => failure,
        _ => Failure { code: FailureCode::DatabaseUnreachable, ..failure },
    }
}

/// Certificate and host name are always verified: `native-tls` does so by default, and no option here changes it.
fn tls_connector(ca_pem: Option<&str>) -> Result<TlsConnector, ConfigurationError> {
    let mut builder = TlsConnector::builder();
    if let Some(pem) = ca_pem {
        // Only the given CAs are trusted. Loading the system's bundle as well would take 20 to 40 ms of a cold start.
        builder.disable_built_in_roots(true);
        let certificates = Certificate::stack_from_pem(pem.as_bytes()).map_err(|_| ConfigurationError::Certificates)?;
        if certificates.is_empty() {
            return Err(ConfigurationError::Certificates);
        }
        for certificate in certificates {
            builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(|_| ConfigurationError::Certificates)
}

/// Whether every host of the URL is this machine, by address and by name. A server with another name at a loopback
/// address is behind a tunnel that ends elsewhere.
fn is_loopback(config: &Config) -> bool {
    let by_name = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    });
    by_name && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(url: &str) -> Result<Connector, ConfigurationError> {
        Connector::new(&DatabaseSettings::new(url, None))
    }

    #[test]
    fn another_machine_requires_tls() {
        assert_eq!(connector("postgres://u@db.example/d").unwrap().config.get_ssl_mode(), SslMode::Require);
        assert_eq!(
            connector("postgres://u@db.example/d?sslmode=prefer").unwrap().config.get_ssl_mode(),
            SslMode::Require
        );
        assert_eq!(connector("postgres://u@db.example/d?sslmode=disable").err(), Some(ConfigurationError::PlainText));
        let mixed = "postgres://u@localhost,db.example/d?sslmode=disable";
        assert_eq!(connector(mixed).err(), Some(ConfigurationError::PlainText));
        let misleading = "postgres://u@localhost/d?hostaddr=192.0.2.1&sslmode=disable";
        assert_eq!(connector(misleading).err(), Some(ConfigurationError::PlainText));
        let tunnel = "postgres://u@db.example/d?hostaddr=127.0.0.1&sslmode=disable";
        assert_eq!(connector(tunnel).err(), Some(ConfigurationError::PlainText));
    }

    #[test]
    fn loopback_needs_no_tls() {
        for url in ["postgres://u@127.0.0.1/d", "postgres://u@localhost/d", "postgres://u@[::1]/d"] {
            assert_ne!(connector(url).unwrap().config.get_ssl_mode(), SslMode::Require, "{url}");
        }
    }

    #[test]
    fn an_invalid_url_or_certificate_is_an_error_without_the_url() {
        assert_eq!(connector("mysql://u:secret@h/d").err(), Some(ConfigurationError::Url));
        let settings = DatabaseSettings::new("postgres://u@h/d", Some("not a certificate".to_owned()));
        assert_eq!(Connector::new(&settings).err(), Some(ConfigurationError::Certificates));
    }
}
