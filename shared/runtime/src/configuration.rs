//! Configuration from the environment, read once at the start. Every name stands in template.yaml.

use std::borrow::Cow;

use aws_types::SdkConfig;
use ringfence_core::{DatabaseSettings, rds};
use ringfence_egress::EgressPolicy;
use ringfence_identity::{Authenticator, KeyRing, KeyRingError, MasterKeys};

use crate::backoff::Backoff;

const KEYS: &str = "RINGFENCE_KEYS";

/// A setting is missing or cannot be read. Names the setting, never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} {fault}")]
pub struct Misconfigured {
    /// The environment variable.
    pub name: String,
    /// What is wrong with it.
    pub fault: Cow<'static, str>,
}

impl Misconfigured {
    #[must_use]
    pub fn new(name: &str, fault: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.to_owned(), fault: fault.into() }
    }
}

impl From<KeyRingError> for Misconfigured {
    fn from(error: KeyRingError) -> Self {
        Self::new(KEYS, error.to_string())
    }
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
        self.optional(name).ok_or_else(|| Misconfigured::new(name, "is not set"))
    }

    /// `DATABASE_URL` and the database's CA: the database as `ringfence_app`.
    pub fn database(&self) -> Result<DatabaseSettings, Misconfigured> {
        Ok(DatabaseSettings::new(self.required("DATABASE_URL")?, self.database_ca()?))
    }

    /// `DATABASE_OWNER_URL` and the database's CA: the database as a role that may migrate.
    pub fn owner_database(&self) -> Result<DatabaseSettings, Misconfigured> {
        Ok(DatabaseSettings::new(self.required("DATABASE_OWNER_URL")?, self.database_ca()?))
    }

    /// The CA certificates that verify the database (PEM), by `DATABASE_CA`: `rds`, the roots of RDS in `AWS_REGION`;
    /// `secret`, also if it is not set, those in `DATABASE_CA_PEM`; `public`, the public CAs of the system (None).
    fn database_ca(&self) -> Result<Option<String>, Misconfigured> {
        let (ca, pem) = ("DATABASE_CA", "DATABASE_CA_PEM");
        match self.optional(ca).as_deref() {
            None => Ok(self.optional(pem)),
            Some("public") => Ok(None),
            Some("secret") => self.required(pem).map(Some),
            Some("rds") => {
                let roots = rds::roots(&self.required("AWS_REGION")?);
                roots
                    .map(Some)
                    .ok_or_else(|| Misconfigured::new(ca, "is rds, whose roots in this region are not known"))
            }
            Some(_) => Err(Misconfigured::new(ca, "is not public, rds or secret")),
        }
    }

    /// The URL of the queue with this name, such as `call-started-dlq`: `QUEUE_URL_PREFIX` and the name.
    pub fn queue_url(&self, name: &str) -> Result<String, Misconfigured> {
        Ok(format!("{}{name}", self.required("QUEUE_URL_PREFIX")?))
    }

    /// The name of a function in AWS, which begins with `STACK_NAME`. Local functions have no stack.
    #[must_use]
    pub fn function_name(&self, name: &str) -> String {
        self.optional("STACK_NAME").map_or_else(|| name.to_owned(), |stack| format!("{stack}-{name}"))
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
        policy.parse().map_err(|_| Misconfigured::new(name, "is neither public nor anywhere"))
    }

    /// `RETRY_WAIT_CAP_SECONDS`: the longest wait between two attempts at a queued event, 900 s unless set.
    pub fn backoff(&self) -> Result<Backoff, Misconfigured> {
        let name = "RETRY_WAIT_CAP_SECONDS";
        let Some(cap) = self.optional(name) else { return Ok(Backoff::default()) };
        let cap_seconds = cap.parse().map_err(|_| Misconfigured::new(name, "is not a number of seconds"))?;
        Ok(Backoff { cap_seconds })
    }

    /// `RINGFENCE_MASTER_KEYS`, which only the function `admin` has.
    pub fn master_keys(&self) -> Result<MasterKeys, Misconfigured> {
        let name = "RINGFENCE_MASTER_KEYS";
        self.required(name)?.parse().map_err(|_| Misconfigured::new(name, "is not kid:base64[,kid:base64]"))
    }

    /// `RINGFENCE_KEYS`: the derived keys of the function.
    pub fn keys(&self) -> Result<KeyRing, Misconfigured> {
        self.required(KEYS)?.parse().map_err(|_| Misconfigured::new(KEYS, "is not kid.purpose=base64url[,...]"))
    }

    /// Accepts the keys of orgs: `RINGFENCE_KEYS` and `RINGFENCE_HMAC_BODY_ONLY`.
    pub fn org_authenticator(&self) -> Result<Authenticator, Misconfigured> {
        let body_only = self.optional("RINGFENCE_HMAC_BODY_ONLY").is_some_and(|value| value == "true");
        Ok(Authenticator::new(self.keys()?.org_key_verifier()?, body_only))
    }

    /// Accepts also the platform key: `RINGFENCE_PLATFORM_KEY_VERSIONS`, 1 unless set.
    pub fn authenticator(&self) -> Result<Authenticator, Misconfigured> {
        let name = "RINGFENCE_PLATFORM_KEY_VERSIONS";
        let versions = self.optional(name).unwrap_or_else(|| "1".to_owned());
        let versions: Result<_, _> = versions.split(',').map(|version| version.trim().parse()).collect();
        let versions = versions.map_err(|_| Misconfigured::new(name, "is not a list of numbers"))?;
        Ok(self.org_authenticator()?.with_platform(self.keys()?.platform_key_verifier()?, versions))
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
        let environment = Environment::from_fn(|_| Some("hunter2".to_owned()));
        for error in [environment.master_keys().err(), environment.keys().err(), environment.authenticator().err()] {
            let error = error.unwrap().to_string();
            assert!(error.starts_with("RINGFENCE_") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_missing_key_is_named_by_its_purpose() {
        let key = "A".repeat(43);
        let ring = format!("a.org={key}");
        let environment = Environment::from_fn(|name| (name == KEYS).then(|| ring.clone()));
        assert!(environment.org_authenticator().is_ok());
        let error = environment.authenticator().err().unwrap().to_string();
        assert_eq!(error, "RINGFENCE_KEYS has no key for the purpose platform");
    }

    /// E12
    #[test]
    fn the_database_is_verified_by_the_chosen_ca() {
        let ca = |ca: &'static str, pem: &'static str, region: &'static str| {
            let environment = Environment::from_fn(|name| match name {
                "DATABASE_URL" => Some("postgres://u@h/d".to_owned()),
                "DATABASE_CA" => Some(ca.to_owned()),
                "DATABASE_CA_PEM" => Some(pem.to_owned()),
                "AWS_REGION" => Some(region.to_owned()),
                _ => None,
            });
            environment.database().map(|settings| settings.ca_pem).map_err(|error| error.to_string())
        };
        assert_eq!(ca("", "", ""), Ok(None));
        assert_eq!(ca("", "own", ""), Ok(Some("own".to_owned())));
        assert_eq!(ca("public", "own", "eu-central-1"), Ok(None));
        assert_eq!(ca("secret", "own", "eu-central-1"), Ok(Some("own".to_owned())));
        assert_eq!(ca("secret", "", "eu-central-1"), Err("DATABASE_CA_PEM is not set".to_owned()));
        assert_eq!(ca("rds", "own", "eu-central-1"), Ok(rds::roots("eu-central-1")));
        let unknown = "DATABASE_CA is rds, whose roots in this region are not known";
        assert_eq!(ca("rds", "own", "xx-north-1"), Err(unknown.to_owned()));
        assert!(ca("any", "own", "eu-central-1").is_err());
    }

    #[test]
    fn queues_and_functions_are_named_by_prefix_and_own_name() {
        let environment = Environment::from_fn(|name| match name {
            "QUEUE_URL_PREFIX" => Some("https://sqs.example/1/stack-".to_owned()),
            "STACK_NAME" => Some("stack".to_owned()),
            _ => None,
        });
        assert_eq!(environment.queue_url("transcript-dlq").unwrap(), "https://sqs.example/1/stack-transcript-dlq");
        assert_eq!(environment.function_name("transcript"), "stack-transcript");
        let local = Environment::from_fn(|_| None);
        assert_eq!(local.function_name("transcript"), "transcript");
        assert_eq!(local.queue_url("transcript").unwrap_err().to_string(), "QUEUE_URL_PREFIX is not set");
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
