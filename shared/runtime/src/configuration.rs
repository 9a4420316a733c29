//! Configuration from the environment, read once at the start. Every name stands in template.yaml.

use aws_types::SdkConfig;
use ringfence_core::DatabaseSettings;
use ringfence_egress::EgressPolicy;
use ringfence_identity::{Authenticator, MasterKeys};

use crate::backoff::Backoff;

/// A setting is missing or cannot be read. Names the setting, never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} {fault}")]
pub struct Misconfigured {
    /// The environment variable.
    pub name: String,
    /// What is wrong with it.
    pub fault: &'static str,
}

type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Where settings come from: the process's environment, or a list in a test.
pub struct Environment<'a>(Box<Lookup<'a>>);

impl<'a> Environment<'a> {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self(Box::new(|name| std::env::var(name).ok()))
    }

    /// Settings from somewhere else.
    pub fn from_fn(lookup: impl Fn(&str) -> Option<String> + 'a) -> Self {
        Self(Box::new(lookup))
    }

    /// A setting that may be left out. An empty one counts as left out, since templates cannot leave a variable out.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// A setting that must be there.
    pub fn required(&self, name: &str) -> Result<String, Misconfigured> {
        self.optional(name).ok_or_else(|| Misconfigured { name: name.to_owned(), fault: "is not set" })
    }

    /// `DATABASE_URL` and `DATABASE_CA_PEM`: the database as `ringfence_app`.
    pub fn database(&self) -> Result<DatabaseSettings, Misconfigured> {
        Ok(DatabaseSettings::new(self.required("DATABASE_URL")?, self.optional("DATABASE_CA_PEM")))
    }

    /// `DATABASE_OWNER_URL` and `DATABASE_CA_PEM`: the database as a role that may migrate.
    pub fn owner_database(&self) -> Result<DatabaseSettings, Misconfigured> {
        Ok(DatabaseSettings::new(self.required("DATABASE_OWNER_URL")?, self.optional("DATABASE_CA_PEM")))
    }

    /// Region, credentials and endpoint of AWS.
    #[must_use]
    pub fn aws(&self) -> SdkConfig {
        ringfence_aws::config::from_environment(&|name| self.optional(name))
    }

    /// `EGRESS_POLICY`: `public`, also if it is not set, or `anywhere`.
    pub fn egress_policy(&self) -> Result<EgressPolicy, Misconfigured> {
        let name = "EGRESS_POLICY";
        let Some(policy) = self.optional(name) else { return Ok(EgressPolicy::Public) };
        policy.parse().map_err(|_| Misconfigured { name: name.to_owned(), fault: "is neither public nor anywhere" })
    }

    /// `RETRY_WAIT_CAP_SECONDS`: the longest wait between two attempts at a queued event, 900 s unless set.
    pub fn backoff(&self) -> Result<Backoff, Misconfigured> {
        let name = "RETRY_WAIT_CAP_SECONDS";
        let Some(cap) = self.optional(name) else { return Ok(Backoff::default()) };
        let cap_seconds =
            cap.parse().map_err(|_| Misconfigured { name: name.to_owned(), fault: "is not a number of seconds" })?;
        Ok(Backoff { cap_seconds })
    }

    /// `RINGFENCE_MASTER_KEYS`.
    pub fn master_keys(&self) -> Result<MasterKeys, Misconfigured> {
        let name = "RINGFENCE_MASTER_KEYS";
        self.required(name)?
            .parse()
            .map_err(|_| Misconfigured { name: name.to_owned(), fault: "is not kid:base64[,kid:base64]" })
    }

    /// `RINGFENCE_MASTER_KEYS`, `RINGFENCE_PLATFORM_KEY_VERSIONS` and `RINGFENCE_HMAC_BODY_ONLY`.
    pub fn authenticator(&self) -> Result<Authenticator, Misconfigured> {
        let versions = "RINGFENCE_PLATFORM_KEY_VERSIONS";
        let platform_versions = self
            .optional(versions)
            .unwrap_or_else(|| "1".to_owned())
            .split(',')
            .map(|version| version.trim().parse())
            .collect::<Result<_, _>>()
            .map_err(|_| Misconfigured { name: versions.to_owned(), fault: "is not a list of numbers" })?;
        let body_only = self.optional("RINGFENCE_HMAC_BODY_ONLY").is_some_and(|value| value == "true");
        Ok(Authenticator::new(self.master_keys()?, platform_versions, body_only))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_empty_setting_is_named() {
        let environment = Environment::from_fn(|_| Some(String::new()));
        let error = environment.required("DATABASE_URL").unwrap_err();
        assert_eq!(error.to_string(), "DATABASE_URL is not set");
    }

    #[test]
    fn a_bad_setting_is_named_without_its_value() {
        let environment = Environment::from_fn(|name| (name == "RINGFENCE_MASTER_KEYS").then(|| "hunter2".to_owned()));
        let error = environment.master_keys().err().unwrap().to_string();
        assert!(error.starts_with("RINGFENCE_MASTER_KEYS"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_egress_policy_is_public_unless_it_is_set() {
        let policy = |value: &'static str| Environment::from_fn(move |_| Some(value.to_owned())).egress_policy();
        assert_eq!(policy(""), Ok(EgressPolicy::Public));
        assert_eq!(policy("public"), Ok(EgressPolicy::Public));
        assert_eq!(policy("anywhere"), Ok(EgressPolicy::Anywhere));
        assert!(policy("everywhere").is_err());
    }
}
