//! Administration of a test's database and queues, in this process.

use admin::{Administration, ConsoleCommands};
use ringfence_harness::testing::TestQueues;
use ringfence_harness::testing::database::APP_PASSWORD;
use ringfence_harness::testing::webhook::{MASTER_KEYS, keys};
use ringfence_runtime::Environment;

/// Administration of the database at `owner_url` and of the given queues.
pub(crate) fn administration(owner_url: &str, queues: &TestQueues) -> Administration {
    Administration::from_environment(&environment(owner_url, &queues.environment()), queues.client(), queues.s3())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The function `console-commands` with the same database and queues.
pub(crate) fn console_commands(owner_url: &str, queues: &TestQueues) -> ConsoleCommands {
    ConsoleCommands::from_environment(&environment(owner_url, &queues.environment()), queues.client(), queues.s3())
        .unwrap_or_else(|error| panic!("{error}"))
}

fn environment<'a>(owner_url: &'a str, queues: &'a Environment<'_>) -> Environment<'a> {
    Environment::from_fn(move |name| match name {
        "DATABASE_OWNER_URL" => Some(owner_url.to_owned()),
        "RINGFENCE_APP_PASSWORD" => Some(APP_PASSWORD.to_owned()),
        "RINGFENCE_MASTER_KEYS" => Some(MASTER_KEYS.to_owned()),
        "RINGFENCE_KEYS" => Some(keys().expose()),
        "PUBLIC_BASE_URL" => Some("https://ringfence.example".to_owned()),
        queue => queues.optional(queue),
    })
}
