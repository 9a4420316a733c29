//! Environment variables of the functions.

use super::backing::Backing;
use super::buckets;
use super::gateway::{connections_endpoint, live_url};
use super::queues::{ACCESS_KEY, Queues, REGION, url_prefix};
use crate::error::Result;

/// Simulated calls have their recordings on this machine, real calls at Vapi.
const RECORDING_HOSTS: &str = "127.0.0.1,*.vapi.ai,*.r2.cloudflarestorage.com";

/// Names and values, in the order in which they are printed.
pub type Environment = Vec<(String, String)>;

/// Environment of the functions: the variables of the template and those of this machine. `base_url` is the URL of the
/// functions.
pub fn of_functions(backing: &Backing, base_url: &str) -> Result<Environment> {
    let mut environment = vec![
        ("DATABASE_URL".to_owned(), backing.database.app_url.clone()),
        ("DATABASE_OWNER_URL".to_owned(), backing.database.owner_url.clone()),
        ("RINGFENCE_APP_PASSWORD".to_owned(), backing.secrets.app_password.clone()),
        ("RINGFENCE_MASTER_KEYS".to_owned(), backing.secrets.master_keys_variable()),
        ("RINGFENCE_KEYS".to_owned(), backing.secrets.keys_variable()?),
        ("PUBLIC_BASE_URL".to_owned(), base_url.to_owned()),
    ];
    environment.extend(of_waiting_work(&backing.queues));
    environment.push(("CONNECTIONS_ENDPOINT".to_owned(), connections_endpoint(backing.gateway_port)));
    environment.push(("LIVE_URL".to_owned(), live_url(backing.gateway_port)));
    // Endpoints under development run on this machine.
    environment.push(("EGRESS_POLICY".to_owned(), "anywhere".to_owned()));
    environment.push(("RECORDING_HOSTS".to_owned(), RECORDING_HOSTS.to_owned()));
    // The functions are invoked at another endpoint than the queues.
    environment.push(("AWS_ENDPOINT_URL_LAMBDA".to_owned(), base_url.to_owned()));
    environment.extend(of_aws(&backing.sqs_endpoint));
    environment.push(("PATH".to_owned(), backing.tools.path_variable()));
    Ok(environment)
}

/// Variables with the URL of the queues, and the names of the buckets of parked events and of recordings. Local functions
/// have no prefix before their names.
#[must_use]
pub fn of_waiting_work(queues: &Queues) -> Environment {
    let buckets = [("PARKING_BUCKET", buckets::PARKING), ("RECORDINGS_BUCKET", buckets::RECORDINGS)];
    let mut environment: Environment = buckets.map(|(name, bucket)| (name.to_owned(), bucket.to_owned())).to_vec();
    environment.extend(url_prefix(queues).map(|prefix| ("QUEUE_URL_PREFIX".to_owned(), prefix.to_owned())));
    environment
}

/// Variables that direct the AWS SDK to the local endpoint only.
#[must_use]
pub fn of_aws(endpoint: &str) -> Environment {
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", ACCESS_KEY),
    ];
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// An `export` line for a shell, with the value quoted.
#[must_use]
pub fn export_line(name: &str, value: &str) -> String {
    format!("export {name}='{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exported_variables_round_trip_through_a_shell() {
        assert_eq!(export_line("NAME", "it's $HOME"), r"export NAME='it'\''s $HOME'");
    }
}
