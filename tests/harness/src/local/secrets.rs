//! The secrets of one checkout's local stack: random, made once.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringfence_identity::{MasterKeys, Purpose};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::json_file;
use super::layout::Layout;
use crate::error::{Context, Error, Result};

/// What the local stack signs and logs in with.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secrets {
    /// The secret half of `RINGFENCE_MASTER_KEYS`, base64.
    master_key: String,
    /// The password of `ringfence_app`.
    pub app_password: String,
    /// The password of the own PostgreSQL server's superuser.
    pub superuser_password: String,
}

impl Secrets {
    /// The checkout's secrets, made when there are none yet.
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

    /// The value of `RINGFENCE_MASTER_KEYS`.
    #[must_use]
    pub fn master_keys_variable(&self) -> String {
        format!("local:{}", self.master_key)
    }

    /// The value of `RINGFENCE_KEYS` that serves every function: the derived keys of all purposes.
    pub fn keys_variable(&self) -> Result<String> {
        let keys = self.master_keys()?.key_ring(&Purpose::ALL).context("derive the keys of the functions")?;
        Ok(keys.expose())
    }

    /// What mints the stack's keys.
    pub fn master_keys(&self) -> Result<MasterKeys> {
        let unreadable = || Error::new("target/ringfence/secrets.json holds no usable master key");
        self.master_keys_variable().parse().map_err(|_| unreadable())
    }
}

/// 32 bytes from the operating system's generator. Two version 4 UUIDs hold 244 random bits.
fn random_bytes() -> Vec<u8> {
    [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat()
}

/// Letters and digits only: it stands in URLs.
fn random_password() -> String {
    Uuid::new_v4().simple().to_string()
}
