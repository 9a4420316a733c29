//! Self-made certificates: a CA that nobody knows, and servers that it vouches for.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

/// A certificate authority.
pub struct TestCa(CertifiedIssuer<'static, KeyPair>);

/// A server's certificate and its key, both PEM.
pub struct ServerCertificate {
    /// What the server shows.
    pub certificate: String,
    /// What it keeps.
    pub key: String,
}

impl TestCa {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    /// Its own certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Vouches for a server by its name.
    #[must_use]
    pub fn vouch_for(&self, host: &str) -> ServerCertificate {
        self.sign(&parameters(host))
    }

    /// Vouched for a server until the end of the year 2000.
    #[must_use]
    pub fn vouched_for(&self, host: &str) -> ServerCertificate {
        let mut parameters = parameters(host);
        parameters.not_before = date_time_ymd(2000, 1, 1);
        parameters.not_after = date_time_ymd(2000, 12, 31);
        self.sign(&parameters)
    }

    fn sign(&self, parameters: &CertificateParams) -> ServerCertificate {
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.0).expect("a certificate");
        ServerCertificate { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}

fn parameters(host: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new([host.to_owned()]).expect("a host name");
    // A subject of its own: one that has its issuer's name is taken for self-signed.
    parameters.distinguished_name.push(DnType::CommonName, host);
    parameters
}
