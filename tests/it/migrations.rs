//! Migrations as they are deployed: forward, rolled back, concurrently, and with code of another release.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use ringfence_core::admin::Admin;
use ringfence_core::error::Failure;
use ringfence_core::migrations::{self, MigrationError};
use ringfence_core::{Database, DatabaseSettings, Outcome};
use ringfence_harness::testing::database::{APP_PASSWORD, apply, try_apply, turn_to_migrate};
use ringfence_harness::testing::{Call, TestDatabase, TestServer};
use ringfence_protocol::admin::Finding;
use ringfence_vapi::{FailureClass, FailureCode};
use serde_json::json;

const ROLLBACK: &str = include_str!("../../migrations/rollback/constraints_and_indexes.sql");

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations"))
}

/// Name and text of each dated migration, in order.
fn files() -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(['V', 'U']))
        .map(|name| (name.clone(), fs::read_to_string(folder().join(&name)).unwrap()))
        .collect();
    files.sort_by_key(|(name, _)| name[1..].to_owned());
    files
}

/// Names in the format of [`migrations::run`]: `V20261122100000__tables.sql` is `20261122100000_tables`.
fn names() -> Vec<String> {
    files().iter().map(|(file, _)| file[1..].trim_end_matches(".sql").replace("__", "_")).collect()
}

async fn migrate(database: &TestDatabase) -> Result<Vec<String>, MigrationError> {
    let _turn = turn_to_migrate().await;
    migrations::run(&database.owner_settings(), APP_PASSWORD).await
}

/// Checks of `verify.sql` that fail.
async fn missing(settings: &DatabaseSettings) -> Vec<String> {
    let findings = migrations::verify(settings).await.expect("verified");
    assert!(findings.len() > 30, "{} checks", findings.len());
    findings.into_iter().filter(|finding| !finding.ok).map(|Finding { check, .. }| check).collect()
}

/// A7: all migrations in order turn an empty database into one that passes every check.
#[tokio::test]
async fn an_empty_database_is_migrated_and_verified() {
    let database = TestDatabase::empty().await;
    assert_eq!(migrate(&database).await.expect("migrated"), names());
    assert_eq!(missing(&database.owner_settings()).await, [""; 0]);
}

/// D3: the checks find a policy, a privilege and a function that differ.
#[tokio::test]
async fn the_checks_find_what_weakens_isolation() {
    let database = TestDatabase::empty().await;
    migrate(&database).await.expect("migrated");
    let client = database.superuser().await;
    let name = &database.name;
    let temporary = format!("GRANT TEMPORARY ON DATABASE {name} TO PUBLIC");
    for (change, check) in [
        ("ALTER TABLE calls NO FORCE ROW LEVEL SECURITY", "row-level security forced on calls"),
        ("CREATE POLICY second ON leads TO ringfence_app USING (true)", "policies of ringfence_app on leads"),
        ("CREATE POLICY public ON queue_states USING (true)", "policies of ringfence_app on queue_states"),
        ("ALTER POLICY org_isolation ON agents USING (true)", "policies of ringfence_app on agents"),
        ("DROP POLICY org_isolation ON tools", "policies of ringfence_app on tools"),
        ("GRANT DELETE ON call_logs TO ringfence_app", "privileges of ringfence_app on call_logs"),
        ("GRANT SELECT ON call_routes TO PUBLIC", "privileges of ringfence_app on call_routes"),
        ("GRANT UPDATE (org_id) ON leads TO ringfence_app", "ringfence_app cannot change the org of a row"),
        ("GRANT EXECUTE ON FUNCTION lo_create(oid) TO PUBLIC", "ringfence_app cannot create large objects"),
        (&temporary, "ringfence_app cannot create tables"),
    ] {
        assert_eq!(missing(&database.owner_settings()).await, [""; 0], "before: {change}");
        // Each change is undone by its own reverse, so that each is seen alone.
        client.batch_execute(change).await.unwrap();
        assert_eq!(missing(&database.owner_settings()).await, [check], "{change}");
        client.batch_execute(&undo(change)).await.unwrap();
    }
}

/// The statement that reverses one of the test's changes.
fn undo(change: &str) -> String {
    const PREDICATE: &str = "org_id = nullif(current_setting('ringfence.org_id', true), '')::uuid";
    let words: Vec<&str> = change.split(' ').collect();
    match words[..] {
        ["ALTER", "TABLE", table, ..] => format!("ALTER TABLE {table} FORCE ROW LEVEL SECURITY"),
        ["CREATE", "POLICY", policy, "ON", table, ..] => format!("DROP POLICY {policy} ON {table}"),
        ["ALTER", "POLICY", policy, "ON", table, ..] => format!("ALTER POLICY {policy} ON {table} USING ({PREDICATE})"),
        ["DROP", "POLICY", policy, "ON", table] => {
            format!("CREATE POLICY {policy} ON {table} TO ringfence_app USING ({PREDICATE}) WITH CHECK ({PREDICATE})")
        }
        _ => change.replace("GRANT", "REVOKE").replace(" TO ", " FROM "),
    }
}

/// A7: deploying the same release again changes nothing.
#[tokio::test]
async fn migrating_again_applies_nothing() {
    let database = TestDatabase::new().await;
    let history = "SELECT string_agg(h::text, '\n' ORDER BY version) FROM refinery_schema_history h";
    let before = database.text(history).await;
    assert_eq!(migrate(&database).await.expect("migrated"), [""; 0]);
    assert_eq!(database.text(history).await, before);
    assert_eq!(missing(&database.owner_settings()).await, [""; 0]);
}

/// A7: two concurrent deployments run one after another, and the second applies nothing.
#[tokio::test]
async fn two_migrations_at_once_take_turns() {
    let database = TestDatabase::empty().await;
    let _turn = turn_to_migrate().await;
    let settings = database.owner_settings();
    let (one, other) = tokio::join!(migrations::run(&settings, APP_PASSWORD), migrations::run(&settings, APP_PASSWORD));
    let mut applied = [one.expect("migrated"), other.expect("migrated")];
    applied.sort();
    assert_eq!(applied, [Vec::new(), names()]);
    assert_eq!(missing(&settings).await, [""; 0]);
}

/// A7: if the last statement fails, all migrations are rolled back. After the cause is removed, all apply.
#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_behind() {
    let database = TestDatabase::empty().await;
    let obstacle = "CREATE TABLE obstacle (a int); CREATE INDEX idx_call_tracking_org_vapi_call_id ON obstacle (a)";
    database.superuser().await.batch_execute(obstacle).await.unwrap();

    let error = migrate(&database).await.expect_err("it is in the way");
    assert!(error.to_string().contains("\"idx_call_tracking_org_vapi_call_id\" already exists"), "{error}");
    assert_eq!(database.count("refinery_schema_history").await, 0);
    let left = "pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        AND relname NOT IN ('obstacle', 'refinery_schema_history')";
    assert_eq!(database.count(left).await, 0, "tables");
    for catalogue in [
        "pg_proc WHERE pronamespace",
        "pg_constraint WHERE conrelid <> 'refinery_schema_history'::regclass AND connamespace",
    ] {
        assert_eq!(database.count(&format!("{catalogue} = 'public'::regnamespace")).await, 0, "{catalogue}");
    }

    database.superuser().await.batch_execute("DROP TABLE obstacle").await.unwrap();
    assert_eq!(migrate(&database).await.expect("migrated"), names());
    assert_eq!(missing(&database.owner_settings()).await, [""; 0]);
}

/// A7: a migration that fails changes no password, because the earlier code, which stays deployed, uses the old one.
#[tokio::test]
async fn a_failed_migration_leaves_no_lock() {
    let database = TestDatabase::empty().await;
    database.superuser().await.batch_execute("CREATE TABLE call_logs (id int)").await.unwrap();
    // Passwords belong to the whole server, and every migration sets this one.
    let _turn = turn_to_migrate().await;
    let password = "SELECT rolpassword FROM pg_authid WHERE rolname = 'ringfence_app'";
    let before = database.text(password).await;
    migrations::run(&database.owner_settings(), "a new one").await.expect_err("a table is in the way");
    assert_eq!(database.text(password).await, before);
}

/// A7, A6: up, down and up with the rows of two orgs. No row is lost, and after `down` the checks name exactly the
/// missing objects.
#[tokio::test]
async fn the_full_rollback_and_its_return_lose_no_row() {
    let database = TestDatabase::new().await;
    let orgs = [database.org("One").await, database.org("Other").await];
    for org in orgs {
        let call = Call::default();
        let events = [call.status("ringing", 0), call.transcript("Yes.", 1), call.report(2, json!({}))];
        database.apply(org, &events).await;
    }
    let before = [database.everything_of(orgs[0]).await, database.everything_of(orgs[1]).await];
    assert!(before.iter().all(|everything| everything.len() > 5), "{before:?}");

    database.superuser().await.batch_execute(ROLLBACK).await.expect("down");
    assert_eq!(
        missing(&database.owner_settings()).await,
        [
            "constraint call_logs_org_id_not_null",
            "constraint call_tracking_org_id_not_null",
            "constraint calls_org_id_not_null",
            "constraint recording_upload_queue_org_id_not_null",
            "index idx_call_logs_org_vapi_call_id",
            "index idx_call_tracking_org_vapi_call_id",
            "index idx_processed_events_org_event",
        ]
    );
    // No event can be applied in the meantime, and each waits in its queue.
    let failure = try_apply(&database.app(), orgs[0], &Call::default().status("ringing", 0)).await.expect_err("waits");
    assert_eq!((failure.code, failure.code.class()), (FailureCode::SchemaMismatch, FailureClass::Transient));

    assert_eq!(migrate(&database).await.expect("up"), ["20261122100600_constraints_and_indexes"]);
    assert_eq!(missing(&database.owner_settings()).await, [""; 0]);
    assert_eq!([database.everything_of(orgs[0]).await, database.everything_of(orgs[1]).await], before);
    let outcome = apply(&database.app(), orgs[0], &Call::default().status("ringing", 0)).await;
    assert!(matches!(outcome, Outcome::Applied { .. }));
}

/// A6, A7: rows that were written without the constraints and indexes, and violate them, prevent their return. The
/// error names the constraint or index and contains no values.
#[tokio::test]
async fn rows_that_violate_a_constraint_or_index_stop_their_return() {
    let database = TestDatabase::new().await;
    let org = database.org("Stray rows").await;
    let superuser = database.superuser().await;
    superuser.batch_execute(ROLLBACK).await.expect("down");
    let twice =
        format!("INSERT INTO call_tracking (org_id, vapi_call_id) VALUES ('{org}', 'stray'), ('{org}', 'stray')");
    for (rows, named) in [
        ("INSERT INTO call_tracking (vapi_call_id) VALUES ('stray')", "call_tracking_org_id_not_null"),
        (twice.as_str(), "idx_call_tracking_org_vapi_call_id"),
    ] {
        superuser.batch_execute(rows).await.unwrap();
        let error = migrate(&database).await.expect_err("violated").to_string();
        assert!(error.contains(&format!("\"{named}\"")) && !error.contains("stray"), "{error}");
        let indexes_missing = "index idx_processed_events_org_event".to_owned();
        assert!(missing(&database.owner_settings()).await.contains(&indexes_missing), "none comes back alone");
        superuser.batch_execute("DELETE FROM call_tracking").await.unwrap();
    }
    migrate(&database).await.expect("up");
    assert_eq!(missing(&database.owner_settings()).await, [""; 0]);
}

/// A7: a managed database has no superuser. A role that owns the database and may create roles is sufficient for
/// everything.
#[tokio::test]
async fn the_owner_of_the_database_need_not_be_superuser() {
    let server = TestServer::start();
    let superuser = server.superuser("postgres").await;
    superuser.batch_execute("CREATE ROLE admin LOGIN CREATEROLE PASSWORD 'admin'").await.unwrap();
    superuser.batch_execute("CREATE DATABASE managed OWNER admin").await.unwrap();
    let owner = server.settings("admin", "admin", "managed");

    assert_eq!(migrations::run(&owner, APP_PASSWORD).await.expect("migrated"), names());
    assert_eq!(migrations::run(&owner, APP_PASSWORD).await.expect("migrated again"), [""; 0]);
    assert_eq!(missing(&owner).await, [""; 0]);

    let admin = Admin::connect(&owner, "test").await.expect("an administrator");
    let org = admin.create_organization("Managed").await.expect("an org");
    let functions = Database::new(&server.settings("ringfence_app", APP_PASSWORD, "managed")).unwrap();
    let outcome = apply(&functions, org, &Call::default().status("in-progress", 0)).await;
    assert!(matches!(outcome, Outcome::Applied { .. }));

    let (client, connection) =
        tokio_postgres::connect(&server.url("admin", "admin", "managed"), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(ROLLBACK).await.expect("down");
    assert_eq!(migrations::run(&owner, APP_PASSWORD).await.expect("up").len(), 1);
}

/// A7: the migration sets the password of the functions' role, stored as a hash. A new password replaces the old one.
#[tokio::test]
async fn the_functions_password_is_the_one_of_the_last_migration() {
    let server = TestServer::start();
    let owner = server.settings("postgres", ringfence_harness::testing::server::SUPERUSER_PASSWORD, "postgres");
    let log_in = async |password: &str| -> Result<(), Failure> {
        let settings = server.settings("ringfence_app", password, "postgres");
        Database::new(&settings).unwrap().query_one("SELECT 1", &[]).await.map(drop)
    };
    migrations::run(&owner, "first").await.expect("migrated");
    assert_eq!(log_in("first").await, Ok(()));
    migrations::run(&owner, "se'cond").await.expect("migrated");
    assert_eq!(log_in("se%27cond").await, Ok(()));
    assert_eq!(log_in("first").await.expect_err("replaced").code, FailureCode::DatabaseUnreachable);

    let query = "SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'ringfence_app'";
    assert!(server.superuser("postgres").await.query_one(query, &[]).await.unwrap().get::<_, bool>(0));
}

/// A7 (quick rollback): an earlier release deploys although it does not know the newest migration.
#[tokio::test]
async fn an_earlier_release_accepts_a_later_migration() {
    let database = TestDatabase::new().await;
    let later = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
        VALUES (20991231000000, 'later', '2099-12-31T00:00:00Z', '1')";
    database.superuser().await.batch_execute(later).await.unwrap();
    assert_eq!(migrate(&database).await.expect("migrated"), [""; 0]);
    assert_eq!(missing(&database.owner_settings()).await, [""; 0]);
}

/// A7 (quick rollback): this release's code runs on a schema that a later one expanded, also over an existing
/// connection.
#[tokio::test]
async fn this_releases_code_runs_on_an_expanded_schema() {
    let database = TestDatabase::new().await;
    let org = database.org("Expanded").await;
    let (before, after) = (Call::default(), Call::default());
    let warm = database.app();
    apply(&warm, org, &before.status("in-progress", 0)).await;

    let expand = "CREATE TABLE later (id int PRIMARY KEY);
        ALTER TABLE call_logs ADD COLUMN later text;
        ALTER TABLE call_tracking ADD COLUMN later text;
        ALTER TABLE calls ADD COLUMN later text;
        ALTER TABLE call_transcripts ADD COLUMN later text;
        ALTER TABLE leads ADD COLUMN later text;
        ALTER TABLE processed_webhook_events ADD COLUMN later text;";
    database.superuser().await.batch_execute(expand).await.unwrap();
    for database in [&warm, &database.app()] {
        for call in [&before, &after] {
            apply(database, org, &call.transcript("Yes.", 1)).await;
            apply(database, org, &call.status("ended", 2)).await;
            apply(database, org, &call.report(3, json!({}))).await;
        }
    }
    assert_eq!(database.count("call_logs WHERE status = 'completed' AND cost = 0.037 AND later IS NULL").await, 2);
    assert_eq!(database.count("call_transcripts").await, 2);
}

/// A7: a migration's file name consists of its date and its name, and the folder contains no other file that would be
/// treated as a migration.
#[test]
fn every_migration_is_dated() {
    let is_dated = |name: &str| {
        let (version, rest) = name[1..].split_once("__").unwrap_or_default();
        let name = rest.trim_end_matches(".sql");
        version.len() == 14
            && version.starts_with("20")
            && version.chars().all(|character| character.is_ascii_digit())
            && !name.is_empty()
            && name.chars().all(|character| character.is_ascii_lowercase() || character == '_')
    };
    let files = files();
    for (name, _) in &files {
        assert!(is_dated(name), "{name}");
    }
    let versions: BTreeSet<_> = files.iter().map(|(name, _)| &name[1..15]).collect();
    assert_eq!(versions.len(), files.len(), "each version once");
    let others: BTreeSet<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !files.iter().any(|(file, _)| file == name))
        .collect();
    assert_eq!(others, ["roles.sql", "rollback", "verify.sql"].map(str::to_owned).into());
}

/// A7: CloudFormation runs the migrations when this property changes, so it names the newest migration.
#[test]
fn the_template_names_the_newest_migration() {
    let template = include_str!("../../template.yaml");
    let versions: Vec<_> = template.lines().filter_map(|line| line.trim().strip_prefix("SchemaVersion:")).collect();
    let newest = migrations::newest_version().to_string();
    assert_eq!(versions.len(), 1);
    assert_eq!(versions[0].trim().trim_matches('"'), newest);
    assert_eq!(files().last().unwrap().0[1..15], newest);
}

/// Statements that remove or narrow something that the previous release's code uses.
fn narrowing(sql: &str) -> Vec<String> {
    const NARROWING: [&str; 6] =
        ["DROP ", "RENAME ", "TRUNCATE ", "SET NOT NULL", "DISABLE ROW LEVEL SECURITY", "NO FORCE ROW LEVEL SECURITY"];
    let code: Vec<_> = sql.lines().filter_map(|line| line.split("--").next()).flat_map(str::split_whitespace).collect();
    // A trigger whose definition contains TRUNCATE removes nothing.
    let code = code.join(" ").to_uppercase().replace("OR TRUNCATE ", "");
    code.split(';')
        .filter(|statement| {
            let changes_type = statement.contains("ALTER TABLE ") && statement.contains(" TYPE ");
            changes_type || NARROWING.iter().any(|words| statement.contains(words))
        })
        .map(str::to_owned)
        .collect()
}

/// A7: migrations only expand, so that the previous release runs on the new schema. Statements that remove objects are
/// in `rollback/`.
#[test]
fn migrations_only_expand() {
    for (name, sql) in files() {
        assert_eq!(narrowing(&sql), [""; 0], "{name}");
    }
    assert_eq!(narrowing(ROLLBACK).len(), 7, "the lint sees what the rollback takes away");
    for sql in [
        "ALTER TABLE calls ALTER COLUMN cost TYPE integer",
        "alter table calls\n    alter cost set data type integer",
        "SELECT 1; DROP TABLE calls",
        "DO $$ BEGIN EXECUTE format('DROP TABLE %I', 'calls'); END $$",
        "TRUNCATE calls",
        "ALTER TABLE calls ADD COLUMN a text, DROP COLUMN cost",
        "ALTER TABLE calls RENAME TO old_calls",
        "ALTER TABLE calls ALTER COLUMN cost SET NOT NULL",
    ] {
        assert_eq!(narrowing(sql).len(), 1, "{sql}");
    }
    assert_eq!(narrowing("ALTER TABLE calls ADD COLUMN later text; -- DROP it later"), [""; 0]);
}

/// A6: names are API. Each constraint and index has a name from a migration, not one that the server generated.
#[tokio::test]
async fn every_constraint_and_index_is_named_by_a_migration() {
    let database = TestDatabase::new().await;
    // Since PostgreSQL 18, NOT NULL is a constraint with a name. No error names it here, since A6 uses CHECK
    // constraints.
    let query = "SELECT conname::text FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
        UNION SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class c ON c.oid = indrelid
        WHERE c.relnamespace = 'public'::regnamespace";
    let rows = database.superuser().await.query(query, &[]).await.unwrap();
    let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(found.len() > 50, "{found:?}");

    let text: String = files().into_iter().map(|(_, sql)| sql).collect();
    let words: BTreeSet<_> =
        text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_').collect();
    let unnamed: Vec<_> =
        found.iter().filter(|name| !words.contains(name.as_str()) && *name != "refinery_schema_history_pkey").collect();
    assert_eq!(unnamed, [""; 0]);
}

/// Rows of calls have ids of version 7 in increasing order, so they are appended to the end of the indexes.
#[tokio::test]
async fn ids_of_calls_follow_time() {
    let database = TestDatabase::new().await;
    let made = "SELECT string_agg(id::text, ' ') FROM (SELECT time_ordered_uuid() AS id, pg_sleep(0.002) FROM generate_series(1, 20)) AS ids";
    let made = database.text(made).await.unwrap();
    let ids: Vec<uuid::Uuid> = made.split(' ').map(|id| id.parse().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let now = jiff::Timestamp::now().as_second().unsigned_abs();
    for id in ids {
        assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
        assert!(id.get_timestamp().unwrap().to_unix().0.abs_diff(now) < 60, "{id}");
    }
    let random = "SELECT count(*) FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid
        WHERE c.relname IN ('call_logs', 'call_tracking', 'calls', 'recording_upload_queue')
            AND pg_get_expr(d.adbin, d.adrelid) LIKE '%gen_random_uuid%'";
    assert_eq!(database.text(random).await.as_deref(), Some("0"));
}
