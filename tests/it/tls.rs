//! TLS to `PostgreSQL`, with a server whose certificate is issued by a test CA.
//!
//! The server listens on this machine, but has a name that is not loopback, like a server behind a tunnel. TLS is
//! therefore required.

use ringfence_core::error::Failure;
use ringfence_core::{ConfigurationError, Database, DatabaseSettings, Outcome, migrations};
use ringfence_harness::testing::certificates::ServerCertificate;
use ringfence_harness::testing::database::{APP_PASSWORD, apply};
use ringfence_harness::testing::server::SUPERUSER_PASSWORD;
use ringfence_harness::testing::{Call, TestCa, TestServer};
use ringfence_runtime::Environment;
use ringfence_vapi::{FailureClass, FailureCode};

const HOST: &str = "db.ringfence.test";

fn server(certificate: &ServerCertificate) -> TestServer {
    TestServer::start_with_tls(&certificate.certificate, &certificate.key)
}

/// Settings as a function reads them, with the certificate in `DATABASE_CA_PEM`.
fn settings(url: &str, ca: Option<&TestCa>) -> DatabaseSettings {
    let environment = Environment::from_fn(|name| match name {
        "DATABASE_URL" => Some(url.to_owned()),
        "DATABASE_CA_PEM" => ca.map(TestCa::pem),
        _ => None,
    });
    environment.database().expect("complete settings")
}

fn superuser(server: &TestServer, host: &str) -> String {
    server.url_of(host, "postgres", SUPERUSER_PASSWORD, "postgres")
}

async fn is_encrypted(settings: &DatabaseSettings) -> Result<bool, Failure> {
    let database = Database::new(settings).expect("usable settings");
    let row = database.query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await?;
    Ok(row.get(0))
}

/// Asserts that no data is sent over an unverified connection, that the event waits, and that the log contains no
/// secret.
async fn assert_refused(settings: &DatabaseSettings) {
    let failure = is_encrypted(settings).await.expect_err("no connection");
    assert_eq!(failure.code, FailureCode::DatabaseUnreachable);
    assert_eq!(failure.code.class(), FailureClass::Transient);
    for secret in [SUPERUSER_PASSWORD, HOST, "postgres:", "127.0.0.1"] {
        assert!(!format!("{failure} {failure:?}").contains(secret), "{failure:?}");
    }
}

/// D14: the configured CA must have issued a certificate for this host name, and the session is encrypted.
#[tokio::test]
async fn only_a_server_that_the_given_ca_vouches_for_by_name_is_reached() {
    let ca = TestCa::new();
    let server = server(&ca.vouch_for(HOST));
    let url = superuser(&server, HOST);
    assert_eq!(is_encrypted(&settings(&url, Some(&ca))).await, Ok(true));

    let another_ca = TestCa::new();
    assert_refused(&settings(&url, Some(&another_ca))).await;
    let public_cas = None;
    assert_refused(&settings(&url, public_cas)).await;
    let another_name = superuser(&server, "other.ringfence.test");
    assert_refused(&settings(&another_name, Some(&ca))).await;
}

/// D14, A7: migrations and events connect in the same way.
#[tokio::test]
async fn migrations_and_events_work_over_tls() {
    let ca = TestCa::new();
    let server = server(&ca.vouch_for(HOST));
    let owner = settings(&superuser(&server, HOST), Some(&ca));
    migrations::run(&owner, APP_PASSWORD).await.expect("migrated");
    let admin = ringfence_core::admin::Admin::connect(&owner, "test").await.expect("an administrator");
    let org = admin.create_organization("Over TLS").await.expect("an org");

    let app = settings(&server.url_of(HOST, "ringfence_app", APP_PASSWORD, "postgres"), Some(&ca));
    let database = Database::new(&app).expect("usable settings");
    let outcome = apply(&database, org, &Call::default().status("in-progress", 0)).await;
    assert!(matches!(outcome, Outcome::Applied { org_id, .. } if org_id == org));
}

/// D14: the certificate must be valid at the current time.
#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let ca = TestCa::new();
    let server = server(&ca.vouched_for(HOST));
    assert_refused(&settings(&superuser(&server, HOST), Some(&ca))).await;
}

/// D14: a connection to another machine never falls back to plain text, whatever the URL prefers.
#[tokio::test]
async fn a_server_without_tls_is_refused_unless_it_is_on_loopback() {
    let ca = TestCa::new();
    let server = TestServer::start();
    let elsewhere = superuser(&server, HOST);
    assert_refused(&settings(&elsewhere, Some(&ca))).await;
    assert_refused(&settings(&format!("{elsewhere}&sslmode=prefer"), Some(&ca))).await;

    let here = server.url("postgres", SUPERUSER_PASSWORD, "postgres");
    assert_eq!(is_encrypted(&settings(&here, None)).await, Ok(false));
}

/// D14: a URL that disables TLS is a configuration error, which is detected before any data is sent.
#[test]
fn a_url_that_turns_tls_off_is_refused_unless_it_is_on_loopback() {
    for host in [HOST, "192.0.2.1", "db.ringfence.test,localhost", "localhost,db.ringfence.test"] {
        let url = format!("postgres://u:secret@{host}/d?sslmode=disable");
        let error = Database::new(&settings(&url, None)).err().expect("refused");
        assert_eq!(error, ConfigurationError::PlainText, "{host}");
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
    assert!(Database::new(&settings("postgres://u@localhost/d?sslmode=disable", None)).is_ok());
}
