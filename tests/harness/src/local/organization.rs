//! Org of the local stack, for development.

use ringfence_core::admin::Admin;
use ringfence_identity::Subject;
use ringfence_vapi::OrgId;
use serde::{Deserialize, Serialize};

use super::backing::Backing;
use super::connection;
use crate::error::{Context, Result};

const NAME: &str = "Local";
const ACTOR: &str = "cargo ringfence up";

/// An org and the newest version of its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Org {
    pub id: OrgId,
    pub key: String,
}

/// Finds the org named "Local". The first `up` creates it.
pub async fn find_or_create(backing: &Backing) -> Result<Org> {
    let settings = connection::settings(&backing.database.owner_url);
    let admin = Admin::connect(&settings, ACTOR).await.context("connect as the administrator")?;
    let organizations = admin.organizations().await.context("list the orgs")?;
    let (id, version) = match organizations.iter().find(|organization| organization.name == NAME) {
        Some(organization) => (organization.id, organization.key_version),
        None => (admin.create_organization(NAME).await.context("create an org")?, 1),
    };
    let key = backing.secrets.master_keys()?.mint(Subject::Org(id), version);
    Ok(Org { id, key: key.expose().to_owned() })
}
