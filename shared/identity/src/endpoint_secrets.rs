//! The secrets that sign requests to the orgs' endpoints. An org's secret is derived and stored nowhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringfence_vapi::OrgId;

use crate::keys::{KEY_LENGTH, KeySet, Subkey, hmac_sha256};

/// `HMAC-SHA256(derived key, org)`.
pub struct EndpointSecret([u8; KEY_LENGTH]);

impl EndpointSecret {
    /// As the Standard Webhooks specification writes it, `whsec_` and base64, to show its owner.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.0))
    }

    /// A signature of the Standard Webhooks specification: `v1,` and base64.
    #[must_use]
    pub fn sign(&self, signed: &str) -> String {
        sign(&self.0, signed)
    }
}

/// The secrets of all orgs.
#[derive(Clone)]
pub struct EndpointSecrets(KeySet<Subkey>);

impl EndpointSecrets {
    pub(crate) const fn new(keys: KeySet<Subkey>) -> Self {
        Self(keys)
    }

    /// The secret of the newest master key, which a receiver should verify with.
    #[must_use]
    pub fn newest(&self, org_id: OrgId) -> EndpointSecret {
        of(&self.0.newest.key, org_id)
    }

    /// One secret for each master key: while one replaces the other, a receiver may know either.
    pub fn all(&self, org_id: OrgId) -> impl Iterator<Item = EndpointSecret> {
        self.0.iter().map(move |named| of(&named.key, org_id))
    }
}

fn of(key: &Subkey, org_id: OrgId) -> EndpointSecret {
    EndpointSecret(key.mac(&org_id.to_string()))
}

fn sign(secret: &[u8], signed: &str) -> String {
    format!("v1,{}", STANDARD.encode(hmac_sha256(secret, signed.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masters::tests::{A, B, masters};

    /// The specification's own example (standardwebhooks.com).
    #[test]
    fn the_example_of_the_specification_has_the_same_signature() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = r#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#;
        assert_eq!(sign(&secret, signed), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_org_has_a_secret_per_master_key() {
        let org = |last: u8| format!("8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c{last:02}").parse().unwrap();
        let secrets = masters(&format!("{B},{A}")).endpoint_secrets();
        let all: Vec<_> =
            [org(1), org(2)].into_iter().flat_map(|org| secrets.all(org)).map(|one| one.expose()).collect();
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
        assert_eq!(secrets.newest(org(1)).expose(), all[0]);
        assert_eq!(masters(A).endpoint_secrets().newest(org(1)).expose(), all[1]);
    }
}
