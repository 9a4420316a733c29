//! TLS to public hosts.

use native_tls::{Certificate, TlsConnector};

/// The paths of the certificates of the public authorities, Lambda's first.
const PUBLIC_AUTHORITIES: [&str; 3] =
    ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem"];

/// Trusts the public authorities, also if the environment stops the library from loading them at each start
/// (`SSL_CERT_FILE` in the template).
pub fn connector() -> Result<TlsConnector, native_tls::Error> {
    let mut builder = TlsConnector::builder();
    let authorities = PUBLIC_AUTHORITIES.iter().find_map(|path| std::fs::read(path).ok());
    for certificate in authorities.map(|pem| Certificate::stack_from_pem(&pem)).transpose()?.unwrap_or_default() {
        builder.add_root_certificate(certificate);
    }
    builder.build()
}
