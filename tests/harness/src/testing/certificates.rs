//! Test certificates: a certificate authority that no system trusts, and server certificates that it issues.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

/// A certificate authority.
pub struct TestCa(CertifiedIssuer<'static, KeyPair>);

/// Certificate and private key of a server, both PEM.
pub struct ServerCertificate {
    /// Certificate.
    pub certificate: String,
    /// Private key.
    pub key: String,
}

impl TestCa {
    /// Creates a certificate authority.
    #[must_use]
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    /// Certificate of the authority, PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for a host name.
    #[must_use]
    pub fn vouch_for(&self, host: &str) -> ServerCertificate {
        self.sign(&parameters(host))
    }

    /// Issues a certificate that expired at the end of the year 2000.
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
    // Its own subject: a certificate with its issuer's name is treated as self-signed.
    parameters.distinguished_name.push(DnType::CommonName, host);
    parameters
}
