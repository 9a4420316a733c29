//! Random secrets of one checkout's local stack. They are created once.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringfence_identity::{MasterKeys, Purpose};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::json_file;
use super::layout::Layout;
use crate::error::{Context, Error, Result};

/// Secrets with which the local stack signs and logs in.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secrets {
    /// Secret part of `RINGFENCE_MASTER_KEYS`, base64.
    master_key: String,
    /// Password of `ringfence_app`.
    pub app_password: String,
    /// Password of the superuser of this checkout's PostgreSQL cluster.
    pub superuser_password: String,
}

impl Secrets {
    /// Secrets of the checkout. They are created if there are none.
    pub fn of(layout: &Layout) -> Result<Self> {
        let path = layout.path("secrets.json");
        if let Some(secrets) = json_file::read(&path)? {
            return Ok(secrets);
        }
        let secrets = Self {
            master_key: STANDARD.encode(random_bytes()),
            app_password: random_password(),
            superuser_password: random_password(),
        };
        json_file::write(&path, &secrets)?;
        Ok(secrets)
    }

    /// Value of `RINGFENCE_MASTER_KEYS`.
    #[must_use]
    pub fn master_keys_variable(&self) -> String {
        format!("local:{}", self.master_key)
    }

    /// Value of `RINGFENCE_KEYS` for every function: the derived keys of all purposes.
    pub fn keys_variable(&self) -> Result<String> {
        let keys = self.master_keys()?.key_ring(&Purpose::ALL).context("derive the keys of the functions")?;
        Ok(keys.expose())
    }

    /// Master keys, from which the stack's keys are minted.
    pub fn master_keys(&self) -> Result<MasterKeys> {
        let unreadable = || Error::new("target/ringfence/secrets.json holds no usable master key");
        self.master_keys_variable().parse().map_err(|_| unreadable())
    }
}

/// 32 bytes from the operating system's generator. Two version 4 UUIDs contain 244 random bits.
fn random_bytes() -> Vec<u8> {
    [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat()
}

/// Letters and digits only, because it is part of URLs.
fn random_password() -> String {
    Uuid::new_v4().simple().to_string()
}
