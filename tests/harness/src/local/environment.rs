//! The environment that the functions run in.

use ringfence_vapi::Function;
use strum::IntoEnumIterator as _;

use super::backing::Backing;
use super::buckets;
use super::gateway::{connections_endpoint, live_url};
use super::queues::{
    ACCESS_KEY, BROADCASTS, Queues, RECORDINGS, REGION, dead_letter_queue, dead_letters_of, queue_of, retry_queue,
};
use crate::error::Result;

/// Simulated calls have their recordings here, real ones at Vapi.
const RECORDING_HOSTS: &str = "127.0.0.1,*.vapi.ai,*.r2.cloudflarestorage.com";

/// Names and values, in the order in which they are printed.
pub type Environment = Vec<(String, String)>;

/// Everything the functions need, those of the template and those of this machine. `base_url` is where they will answer.
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
    environment.push(("CONSOLE_COMMANDS_FUNCTION_NAME".to_owned(), "console-commands".to_owned()));
    // Endpoints are developed on this machine.
    environment.push(("EGRESS_POLICY".to_owned(), "anywhere".to_owned()));
    environment.push(("RECORDING_HOSTS".to_owned(), RECORDING_HOSTS.to_owned()));
    // The functions are invoked where they run, which is not where the queues are.
    environment.push(("AWS_ENDPOINT_URL_LAMBDA".to_owned(), base_url.to_owned()));
    environment.extend(of_aws(&backing.sqs_endpoint));
    environment.push(("PATH".to_owned(), backing.tools.path_variable()));
    Ok(environment)
}

/// What names the places where work waits: the queues, what parks events that are too large for them, and where recordings go.
#[must_use]
pub fn of_waiting_work(queues: &Queues) -> Environment {
    let buckets = [("PARKING_BUCKET", buckets::PARKING), ("RECORDINGS_BUCKET", buckets::RECORDINGS)];
    let mut environment: Environment = buckets.map(|(name, bucket)| (name.to_owned(), bucket.to_owned())).to_vec();
    for function in Function::iter() {
        let name = function.as_str().to_uppercase().replace('-', "_");
        let url = |queue: &str| queues.get(queue).cloned().unwrap_or_default();
        environment.push((format!("{name}_QUEUE_URL"), url(&retry_queue(function))));
        environment.push((format!("{name}_DLQ_URL"), url(&dead_letter_queue(function))));
        environment.push((format!("{name}_FUNCTION_NAME"), function.to_string()));
    }
    let others = [
        ("BROADCAST_QUEUE_URL", queue_of(BROADCASTS)),
        ("BROADCAST_DLQ_URL", dead_letters_of(BROADCASTS)),
        ("RECORDING_UPLOAD_QUEUE_URL", queue_of(RECORDINGS)),
        ("RECORDING_UPLOAD_DLQ_URL", dead_letters_of(RECORDINGS)),
    ];
    environment.extend(others.map(|(name, queue)| (name.to_owned(), queues.get(&queue).cloned().unwrap_or_default())));
    environment
}

/// What leads the AWS SDK to the local endpoint and nowhere else.
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

/// A line for a shell: the value arrives as it is, whatever it holds.
#[must_use]
pub fn export_line(name: &str, value: &str) -> String {
    format!("export {name}='{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_exported() {
        assert_eq!(export_line("NAME", "it's $HOME"), r"export NAME='it'\''s $HOME'");
    }
}
