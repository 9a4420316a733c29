//! The hosts that recordings may be fetched from.

use lambda_http::http::Uri;
use ringfence_runtime::Misconfigured;

/// The hosts of Vapi's recordings: its own, and its buckets at Cloudflare.
const VAPI_HOSTS: &str = "*.vapi.ai,*.r2.cloudflarestorage.com";

/// A list of host names. `*.` before a name stands for all names below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// The hosts of the setting `RECORDING_HOSTS`, separated by commas, or Vapi's hosts if it is not set.
    pub fn from_setting(setting: Option<&str>) -> Result<Self, Misconfigured> {
        let hosts: Vec<_> =
            setting.unwrap_or(VAPI_HOSTS).split(',').map(|host| host.trim().to_ascii_lowercase()).collect();
        let is_host = |host: &String| {
            let name = host.strip_prefix("*.").unwrap_or(host);
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
        };
        if hosts.iter().all(is_host) {
            return Ok(Self(hosts));
        }
        let name = "RECORDING_HOSTS".to_owned();
        Err(Misconfigured { name, fault: "is not a list of host names, each with an optional prefix *." })
    }

    pub(crate) fn allow(&self, url: &Uri) -> bool {
        let Some(host) = url.host().map(str::to_ascii_lowercase) else { return false };
        // A text before an @ is a credential, or makes another host look like an allowed one.
        let is_plain = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        is_plain
            && self.0.iter().any(|allowed| match allowed.strip_prefix("*.") {
                Some(parent) => host.strip_suffix(parent).is_some_and(|below| below.len() > 1 && below.ends_with('.')),
                None => *allowed == host,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_hosts_and_those_below_a_star_are_allowed() {
        let hosts = Hosts::from_setting(Some("storage.example, *.r2.example")).unwrap();
        for (url, allowed) in [
            ("https://storage.example/a", true),
            ("https://STORAGE.example:8443/a", true),
            ("https://acct.r2.example/a?x=1", true),
            ("https://a.b.r2.example/a", true),
            ("https://r2.example/a", false),
            ("https://.r2.example/a", false),
            ("https://evilr2.example/a", false),
            ("https://storage.example.evil.example/a", false),
            ("https://storage.example@evil.example/a", false),
            ("https://evil.example@storage.example/a", false),
            ("https://169.254.169.254/latest/meta-data", false),
            ("/a", false),
        ] {
            let allows = url.parse().is_ok_and(|url| hosts.allow(&url));
            assert_eq!(allows, allowed, "{url}");
        }
    }

    #[test]
    fn vapis_hosts_are_allowed_by_default() {
        let hosts = Hosts::from_setting(None).unwrap();
        assert!(hosts.allow(&"https://acct.r2.cloudflarestorage.com/a".parse().unwrap()));
        assert!(hosts.allow(&"https://storage.vapi.ai/a".parse().unwrap()));
        for setting in ["", "*", "a,,b", "https://a", "a/b"] {
            assert!(Hosts::from_setting(Some(setting)).is_err(), "{setting}");
        }
    }
}
