//! TLS to everything but the database: AWS, CloudFormation's response URL, Vapi, recordings, endpoints of orgs and
//! Sentry. Public CAs are trusted whatever the CA of the database is.

use native_tls::{Certificate, TlsConnector};

/// Paths of the systems' bundles of public CAs, Lambda's first.
const SYSTEM_BUNDLES: [&str; 3] =
    ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem"];

/// Trusts the public CAs of the system. Loading them takes some ten milliseconds, so a connector is created for the
/// first request and not at the start.
pub fn connector() -> Result<TlsConnector, native_tls::Error> {
    // OpenSSL loads the system's bundle itself unless this variable names another file. The template names an empty
    // file if the database has a CA of its own, so that a start does not load the bundle for the database.
    if std::env::var_os("SSL_CERT_FILE").is_none() {
        return TlsConnector::new();
    }
    match SYSTEM_BUNDLES.iter().find_map(|path| std::fs::read(path).ok()) {
        Some(bundle) => connector_with(&bundle),
        None => TlsConnector::new(),
    }
}

/// Trusts also the CAs of a bundle (PEM).
pub fn connector_with(bundle: &[u8]) -> Result<TlsConnector, native_tls::Error> {
    let mut builder = TlsConnector::builder();
    for certificate in Certificate::stack_from_pem(bundle)? {
        builder.add_root_certificate(certificate);
    }
    builder.build()
}
