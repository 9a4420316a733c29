//! How a connection is made: where to, and over TLS that is verified unless the server is on this very machine.

use std::time::Duration;

use native_tls::{Certificate, TlsConnector};
use postgres_native_tls::MakeTlsConnector;
use ringfence_vapi::{FailureClass, FailureCode};
use tokio_postgres::config::{Config, Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, NoTls, Socket};

use crate::error::Failure;

/// Where the database is and how long to wait for it.
#[derive(Clone)]
pub struct DatabaseSettings {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// Certificates (PEM) that may have signed the server's; absent: the system's public ones.
    pub ca_pem: Option<String>,
    /// How long to wait for it.
    pub timeouts: Timeouts,
}

/// How long to wait for the database, and how long to trust what was learnt of it.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// The longest wait for a connection.
    pub connect: Duration,
    /// The longest wait for a statement. Longer than the role's `statement_timeout`, so that a slow statement is ended by the
    /// server, which says why, and this one catches a server that says nothing.
    pub statement: Duration,
    /// A connection that was idle for longer is not used again.
    pub max_idle: Duration,
    /// How long nobody waits again for a database that was found away.
    pub retry_after: Duration,
}

impl Default for Timeouts {
    /// What suits a webhook whose sender gives up after 20 s. Gateways and firewalls forget a connection that was idle for some
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
    /// A database, with the usual timeouts.
    #[must_use]
    pub fn new(url: impl Into<String>, ca_pem: Option<String>) -> Self {
        Self { url: url.into(), ca_pem, timeouts: Timeouts::default() }
    }
}

/// The settings cannot work. Never holds the URL, which has a password in it.
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

/// Makes connections with one set of settings.
pub(crate) struct Connector {
    config: Config,
    /// None on loopback, unless the URL demands TLS: loading the CAs costs a start some ten milliseconds.
    tls: Option<MakeTlsConnector>,
    timeout: Duration,
}

impl Connector {
    /// Reads the settings; connects to nothing yet.
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
        // Each host that the URL names has its time.
        let hosts = u32::try_from(config.get_hosts().len()).unwrap_or(1).max(1);
        Ok(Self { config, tls, timeout: settings.timeouts.connect * hosts })
    }

    /// A new connection, driven by a task of its own until it closes.
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
        // The driver's own timeout covers TCP only; a server that accepts and never answers is caught here.
        let (client, connection) = tokio::time::timeout(self.timeout, self.config.connect(tls))
            .await
            .map_err(|_| FailureCode::DatabaseTimeout)?
            .map_err(before_connected)?;
        tokio::spawn(async move {
            // The statement in flight reports the failure; here it would be logged twice.
            if connection.await.is_err() {
                tracing::debug!("database connection closed");
            }
        });
        Ok(client)
    }
}

/// Before there is a connection nothing was asked that could be wrong, so no failure counts against the event that waits for
/// it. The driver reports some as the caller's mistake, such as a server that knows no TLS.
fn before_connected(error: tokio_postgres::Error) -> Failure {
    let failure = Failure::from(error);
    match failure.code.class() {
        FailureClass::Transient => failure,
        _ => Failure { code: FailureCode::DatabaseUnreachable, ..failure },
    }
}

/// Certificate and host name are verified always; that is `native-tls`'s default and there is no option to change it.
fn tls_connector(ca_pem: Option<&str>) -> Result<TlsConnector, ConfigurationError> {
    let mut builder = TlsConnector::builder();
    if let Some(pem) = ca_pem {
        // Only the given CA counts. Loading the system's bundle as well would cost a cold start 20 to 40 ms.
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

/// Whether every host of the URL is this machine, by address and by name: a server of another name that is reached at a
/// loopback address sits behind a tunnel, whose far end is elsewhere.
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
    fn another_machine_is_reached_over_tls_or_not_at_all() {
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
    fn loopback_may_be_plain() {
        for url in ["postgres://u@127.0.0.1/d", "postgres://u@localhost/d", "postgres://u@[::1]/d"] {
            assert_ne!(connector(url).unwrap().config.get_ssl_mode(), SslMode::Require, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_or_no_certificate_is_an_error_without_the_url() {
        assert_eq!(connector("mysql://u:secret@h/d").err(), Some(ConfigurationError::Url));
        let settings = DatabaseSettings::new("postgres://u@h/d", Some("not a certificate".to_owned()));
        assert_eq!(Connector::new(&settings).err(), Some(ConfigurationError::Certificates));
    }
}
