//! How an org's assistants and phone numbers are set up at Vapi: whether their messages come here, with a credential that counts, again if
//! they fail, and only those that are used. Looked at, and set, over Vapi's API with the org's key, which never leaves this function.

use std::collections::BTreeSet;
use std::net::IpAddr;

use http::Uri;
use jiff::Timestamp;
use ringfence_egress::vapi_api::Method;
use ringfence_egress::{VapiApi, VapiApiError};
use ringfence_identity::Subject;
use ringfence_protocol::admin::{Connection, ServerCheck};
use ringfence_runtime::Coded as _;
use ringfence_vapi::{OrgId, server_messages};
use serde_json::{Map, Value, json};

use crate::{Administration, CommandError};

/// The most credentials that Vapi lists in one answer.
const CREDENTIALS_PER_PAGE: usize = 1000;
const MAX_CREDENTIAL_PAGES: usize = 20;
/// What a repetition changes nothing about.
const NOT_AGAIN: [u16; 6] = [400, 401, 403, 404, 413, 422];

impl Administration {
    /// Looks at how the org's registered assistants and numbers are set up; with `run` it sets right what is wrong.
    pub(crate) async fn connect(&self, actor: String, org_id: OrgId, run: bool) -> Result<Connection, CommandError> {
        if run && is_local(&self.base_url) {
            return Err(CommandError::LocalUrl);
        }
        let admin = self.admin(actor).await?;
        let version = admin.key_version(org_id).await?.ok_or(CommandError::NoSuchOrg)?;
        let sealed = admin.vapi_key(org_id).await?.ok_or(CommandError::NoVapiKey)?;
        let key = self.masters.api_key_sealer().open(org_id, &sealed).ok_or(VapiApiError::KeyRefused)?;
        let agents = admin.agents(org_id).await?;
        // An agent may share its number with another.
        let served: BTreeSet<(&'static str, String)> = agents
            .into_iter()
            .flat_map(|listed| {
                let (assistant, number) = (listed.agent.assistant_id, listed.agent.phone_number_id);
                assistant.map(|id| ("assistant", id)).into_iter().chain(number.map(|id| ("phone-number", id)))
            })
            .filter(|(_, id)| is_id(id))
            .collect();

        // The name has the version, so that a rotated key is another credential.
        let name = format!("ringfence {org_id} v{version}");
        let credential = self.find_credential(&key, &name).await?;
        let mut connection = Connection { found: Vec::new(), changed: false, failed: 0 };
        let mut changes = Vec::new();
        for (kind, id) in served {
            let (what, path) = (format!("{kind} {id}"), format!("/{kind}/{id}"));
            let shown = match self.vapi.ask(Method::GET, &key, &path, None).await {
                Err(VapiApiError::NotFound) => {
                    let wrong = vec!["Vapi does not know it: is it registered with the right id?".to_owned()];
                    connection.found.push(ServerCheck { what, wrong });
                    continue;
                }
                // Every other request would fail as well.
                Err(VapiApiError::KeyRefused) => return Err(VapiApiError::KeyRefused.into()),
                Err(error) => {
                    connection.failed += 1;
                    connection
                        .found
                        .push(ServerCheck { what, wrong: vec![format!("not read: {}: {error}", error.code())] });
                    continue;
                }
                Ok(shown) => shown,
            };
            let wrong = self.wrong(org_id, kind, &shown, credential.as_deref());
            if !wrong.is_empty() {
                changes.push((connection.found.len(), path, kind, shown));
            }
            connection.found.push(ServerCheck { what, wrong });
        }
        if run && !changes.is_empty() {
            admin.record_connect(org_id, changes.len()).await?;
            let credential = match credential {
                Some(id) => id,
                None => self.make_credential(&key, &name, org_id, version).await?,
            };
            for (index, path, kind, shown) in changes {
                let change = self.change(org_id, kind, &shown, &credential);
                match self.vapi.ask(Method::PATCH, &key, &path, Some(&change)).await {
                    Ok(_) => connection.changed = true,
                    Err(error) => {
                        connection.failed += 1;
                        connection.found[index].wrong.push(format!("not changed: {}: {error}", error.code()));
                    }
                }
            }
        }
        Ok(connection)
    }

    fn url(&self, org_id: OrgId) -> String {
        format!("{}/vapi/{org_id}", self.base_url)
    }

    /// What is to be changed, in words.
    fn wrong(&self, org_id: OrgId, kind: &str, shown: &Value, credential: Option<&str>) -> Vec<String> {
        let server = &shown["server"];
        let mut wrong = Vec::new();
        let url = server["url"].as_str().or_else(|| shown["serverUrl"].as_str());
        if url != Some(self.url(org_id).as_str()) {
            wrong.push(format!(
                "server.url is {}: set it to {}",
                if url.is_some() { "another" } else { "not set" },
                self.url(org_id)
            ));
        }
        if credential.is_none() || server["credentialId"].as_str() != credential {
            let legacy = if shown["isServerUrlSecretSet"] == json!(true) {
                " (a server secret is set, which is not seen)"
            } else {
                ""
            };
            wrong.push(format!("server.credentialId is not that of the org's newest key{legacy}"));
        }
        let plan = &server["backoffPlan"];
        let excluded: BTreeSet<u64> =
            plan["excludedStatusCodes"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        if plan["type"] != json!("exponential")
            || plan["maxRetries"].as_u64().unwrap_or_default() < 3
            || !NOT_AGAIN.iter().all(|status| excluded.contains(&u64::from(*status)))
        {
            wrong.push(format!(
                "server.backoffPlan should be exponential, with 3 retries, and none after {NOT_AGAIN:?}"
            ));
        }
        if server["timeoutSeconds"].as_u64().unwrap_or(20) < 20 {
            wrong.push("server.timeoutSeconds should be 20 at least".to_owned());
        }
        if kind == "assistant" {
            let sent: BTreeSet<&str> =
                shown["serverMessages"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let used = server_messages();
            let missing: Vec<&str> = used.difference(&sent).copied().collect();
            let unused: Vec<&str> = sent.difference(&used).copied().collect();
            if !missing.is_empty() {
                wrong.push(format!("serverMessages lack {}", missing.join(", ")));
            }
            if !unused.is_empty() {
                wrong.push(format!("serverMessages have {}, which nobody uses here", unused.join(", ")));
            }
        }
        wrong
    }

    /// A server is replaced as a whole, so what else it says is said again.
    fn change(&self, org_id: OrgId, kind: &str, shown: &Value, credential: &str) -> Value {
        let mut server = shown["server"].as_object().cloned().unwrap_or_default();
        server.insert("url".to_owned(), json!(self.url(org_id)));
        server.insert("credentialId".to_owned(), json!(credential));
        server.insert(
            "timeoutSeconds".to_owned(),
            json!(server.get("timeoutSeconds").and_then(Value::as_u64).unwrap_or(20).max(20)),
        );
        server.insert(
            "backoffPlan".to_owned(),
            json!({"type": "exponential", "maxRetries": 3, "baseDelaySeconds": 1, "excludedStatusCodes": NOT_AGAIN}),
        );
        let mut change = Map::from_iter([("server".to_owned(), Value::Object(server))]);
        if kind == "assistant" {
            change.insert("serverMessages".to_owned(), json!(server_messages()));
        }
        Value::Object(change)
    }

    async fn find_credential(&self, key: &str, name: &str) -> Result<Option<String>, CommandError> {
        let mut path = format!("/credential?limit={CREDENTIALS_PER_PAGE}");
        let mut seen = BTreeSet::new();
        for _ in 0..MAX_CREDENTIAL_PAGES {
            let page = self.vapi.ask(Method::GET, key, &path, None).await?;
            let page = page.as_array().ok_or(VapiApiError::Unreadable)?;
            if let Some(found) = page.iter().find(|credential| credential["name"] == json!(name)) {
                return Ok(found["id"].as_str().map(str::to_owned));
            }
            // The newest come first. The next page begins at the time of the oldest, which may have the same time as one
            // that is on no page yet.
            let has_new = page.iter().filter_map(|credential| credential["id"].as_str()).fold(false, |has_new, id| {
                let is_new = seen.insert(id.to_owned());
                has_new || is_new
            });
            let oldest =
                page.iter().filter_map(|credential| credential["createdAt"].as_str()?.parse::<Timestamp>().ok());
            let Some(oldest) = oldest.min().filter(|_| has_new && page.len() >= CREDENTIALS_PER_PAGE) else {
                return Ok(None);
            };
            path = format!("/credential?limit={CREDENTIALS_PER_PAGE}&createdAtLe={oldest}");
        }
        // Otherwise a second credential would be created.
        Err(CommandError::TooManyCredentials)
    }

    async fn make_credential(
        &self,
        key: &str,
        name: &str,
        org_id: OrgId,
        version: i32,
    ) -> Result<String, CommandError> {
        let token = self.masters.mint(Subject::Org(org_id), version);
        let plan = json!({"type": "bearer", "token": token.expose()});
        let credential = json!({"provider": "custom-credential", "name": name, "authenticationPlan": plan});
        let made = self.vapi.ask(Method::POST, key, "/credential", Some(&credential)).await?;
        Ok(made["id"].as_str().ok_or(VapiApiError::Unreadable)?.to_owned())
    }

    /// With Vapi's API somewhere else.
    #[must_use]
    pub fn with_vapi(mut self, api: VapiApi) -> Self {
        self.vapi = api;
        self
    }
}

/// Whether a URL leads to the machine itself, where Vapi cannot reach this stack.
fn is_local(url: &str) -> bool {
    let uri = url.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost"
        || host.ends_with(".localhost")
        || address.is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}

/// Whether it can stand in a path.
fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_this_machine_is_local() {
        for url in
            ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:4566", "http://0.0.0.0", "http://a.localhost/"]
        {
            assert!(is_local(url), "{url}");
        }
        for url in ["https://ringfence.example", "https://10.0.0.1", "https://localhost.example"] {
            assert!(!is_local(url), "{url}");
        }
    }
}
