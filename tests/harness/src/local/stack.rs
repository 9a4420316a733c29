//! The whole stack, and `local.json`, which gives its addresses to scripts and the other verbs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ringfence_identity::Subject;
use serde::{Deserialize, Serialize};

use super::backing::Backing;
use super::functions::Functions;
use super::gateway::{Gateway, live_url};
use super::json_file;
use super::layout::{Layout, remove};
use super::ministack::MiniStack;
use super::organization::{self, Org};
use super::postgres::Cluster;
use super::process::Service;
use super::pump::Pump;
use super::queues::Queues;
use crate::error::Result;

/// Addresses of the running stack. `up` writes them to `target/ringfence/local.json` when all services answer; `down`
/// removes the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stack {
    pub base_url: String,
    /// Webhook URL of [`Stack::org`].
    pub webhook_url: String,
    pub health_url: String,
    /// URL for viewers, who need a token (`cargo ringfence token`).
    pub live_url: String,
    /// URL of the superuser.
    pub database_url: String,
    /// URL of the functions' role.
    pub app_database_url: String,
    /// Data folder of PostgreSQL, if the server is the cluster of this checkout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_dir: Option<PathBuf>,
    pub sqs_endpoint: String,
    pub queues: Queues,
    pub platform: Platform,
    pub org: Org,
    /// Process ids of the background processes by name.
    pub pids: BTreeMap<String, i32>,
}

/// Webhook URL and key of the platform.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Platform {
    pub url: String,
    pub key: String,
}

impl Stack {
    /// Starts the services that are not running.
    pub async fn start(layout: &Layout) -> Result<Self> {
        let backing = Backing::start(layout).await?;
        let base_url = Functions::of(layout).start(layout, &backing).await?;
        Pump::of(layout).start(&backing.sqs_endpoint, &base_url).await?;
        Gateway::of(layout).start(backing.gateway_port, &base_url).await?;
        let org = organization::find_or_create(&backing).await?;
        let stack = Self::describe(layout, backing, base_url, org)?;
        stack.save(layout)?;
        Ok(stack)
    }

    /// Writes `local.json`.
    pub fn save(&self, layout: &Layout) -> Result<()> {
        json_file::write(&path(layout), self)
    }

    /// Stops all services in the reverse order. Returns false if none was running.
    pub async fn stop(layout: &Layout) -> Result<bool> {
        remove(&path(layout))?;
        let gateway = Gateway::of(layout).stop().await?;
        let pump = Pump::of(layout).stop().await?;
        let functions = Functions::of(layout).stop().await?;
        Ok(Backing::stop(layout).await? || functions || pump || gateway)
    }

    /// The stack, if all of it is running.
    pub fn running(layout: &Layout) -> Result<Option<Self>> {
        let stack: Option<Self> = json_file::read(&path(layout))?;
        let Some(stack) = stack else { return Ok(None) };
        let all_run = stack.ended(layout)?.is_none();
        Ok(all_run.then_some(stack))
    }

    /// Name of a process of the stack that has ended, if any.
    pub fn ended(&self, layout: &Layout) -> Result<Option<String>> {
        for (name, service) in services(layout) {
            let pid = service.running()?.map(|record| record.pid);
            if pid != self.pids.get(name).copied() {
                return Ok(Some(name.to_owned()));
            }
        }
        Ok(None)
    }

    fn describe(layout: &Layout, backing: Backing, base_url: String, org: Org) -> Result<Self> {
        let platform_key = backing.secrets.master_keys()?.mint(Subject::Platform, 1);
        let mut pids = BTreeMap::new();
        for (name, service) in services(layout) {
            pids.extend(service.running()?.map(|record| (name.to_owned(), record.pid)));
        }
        Ok(Self {
            webhook_url: format!("{base_url}/vapi/{}", org.id),
            health_url: format!("{base_url}/health"),
            live_url: live_url(backing.gateway_port),
            platform: Platform { url: format!("{base_url}/vapi"), key: platform_key.expose().to_owned() },
            database_url: backing.database.owner_url,
            app_database_url: backing.database.app_url,
            database_dir: backing.database.folder,
            sqs_endpoint: backing.sqs_endpoint,
            queues: backing.queues,
            base_url,
            org,
            pids,
        })
    }
}

/// Removes all data of the stack and of the tests' services, including secrets. No service may be running.
pub fn purge(layout: &Layout) -> Result<()> {
    Cluster::of_stack(layout).purge()?;
    Cluster::of_tests(layout).purge()?;
    Cluster::of_drills(layout).purge()?;
    Cluster::of_bench(layout).purge()?;
    for name in ["ministack", "secrets.json", "logs", "run"] {
        remove(&layout.path(name))?;
    }
    Ok(())
}

fn path(layout: &Layout) -> PathBuf {
    layout.path("local.json")
}

fn services(layout: &Layout) -> [(&'static str, Service); 5] {
    [
        ("postgres", Cluster::of_stack(layout).service().clone()),
        ("ministack", MiniStack::of_stack(layout).service().clone()),
        ("functions", Functions::of(layout).service().clone()),
        ("pump", Pump::of(layout).service().clone()),
        ("gateway", Gateway::of(layout).service().clone()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scripts read these fields.
    #[test]
    fn local_json_tells_everything_under_its_name() {
        let stack = Stack {
            base_url: "http://127.0.0.1:9000".to_owned(),
            webhook_url: "http://127.0.0.1:9000/vapi/org".to_owned(),
            health_url: "http://127.0.0.1:9000/health".to_owned(),
            live_url: "ws://127.0.0.1:9001/live".to_owned(),
            database_url: "postgres://postgres@127.0.0.1/ringfence".to_owned(),
            app_database_url: "postgres://ringfence_app@127.0.0.1/ringfence".to_owned(),
            database_dir: Some(PathBuf::from("data")),
            sqs_endpoint: "http://127.0.0.1:4566".to_owned(),
            queues: Queues::from([("ringfence-transcript".to_owned(), "http://127.0.0.1:4566/q".to_owned())]),
            platform: Platform { url: "http://127.0.0.1:9000/vapi".to_owned(), key: "rf_p".to_owned() },
            org: Org { id: ringfence_vapi::OrgId::from(uuid::Uuid::nil()), key: "rf_o".to_owned() },
            pids: BTreeMap::new(),
        };
        let json = serde_json::to_value(&stack).unwrap();
        for name in [
            "base_url",
            "webhook_url",
            "health_url",
            "live_url",
            "database_url",
            "app_database_url",
            "database_dir",
            "sqs_endpoint",
        ] {
            assert!(json[name].is_string(), "{name}");
        }
        for pointer in ["/platform/url", "/platform/key", "/org/id", "/org/key", "/queues/ringfence-transcript"] {
            assert!(json.pointer(pointer).is_some_and(serde_json::Value::is_string), "{pointer}");
        }
    }
}
